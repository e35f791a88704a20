//! `Secret`: keyed hashes that stand for texts, so that maps need not keep the texts.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use siphasher::sip128::{Hasher128, SipHasher13};

/// The key of the hashes of one log.
pub(super) struct Secret(u64, u64);

/// The hash of a text. It is keyed with a secret, so nobody can construct two texts with the same hash, and
/// it has 128 bits, so no two texts have it by accident.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SecretHash(u64, u64);

/// A map by the hash of a text. It does not hash again.
pub(super) type SecretMap<V> = HashMap<SecretHash, V, BuildHasherDefault<HashedBefore>>;

impl Secret {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self(random.hash_one(0), random.hash_one(1))
    }

    pub(super) fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }

    pub(super) fn hash(&self, text: &str) -> SecretHash {
        let mut hasher = self.hasher();
        hasher.write(text.as_bytes());
        SecretHash::of(&hasher)
    }
}

impl SecretHash {
    pub(super) fn of(hasher: &SipHasher13) -> Self {
        let hash = hasher.finish128();
        Self(hash.h1, hash.h2)
    }
}

impl Hash for SecretHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// The hasher of what is a hash already.
#[derive(Default)]
pub(super) struct HashedBefore(u64);

impl Hasher for HashedBefore {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a `SecretHash` writes one number");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
