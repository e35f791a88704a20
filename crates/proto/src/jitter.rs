//! `Jitter`: random fractions from a seed.

/// SplitMix64. The same seed makes the same fractions. Its only task is to spread the waits of clients.
#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A fraction that is at least 0 and less than 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds")]
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_spread_and_depend_only_on_the_seed() {
        let fractions = |seed| {
            let mut jitter = Jitter::new(seed);
            std::array::from_fn::<f64, 1000, _>(|_| jitter.next())
        };
        assert_eq!(fractions(7), fractions(7));
        assert_ne!(fractions(7), fractions(8));
        assert!(
            fractions(7)
                .iter()
                .all(|fraction| (0.0..1.0).contains(fraction))
        );
        for tenth in 0..10 {
            let low = f64::from(tenth) / 10.0;
            let count = fractions(7)
                .iter()
                .filter(|f| (low..low + 0.1).contains(*f))
                .count();
            assert!((50..150).contains(&count), "{count} from {low}");
        }
    }
}
