//! `Counts`: a recorder of metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// A recorder of metrics, by name and labels.
#[derive(Default)]
pub(crate) struct Counts {
    numbers: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    samples: Mutex<BTreeMap<String, Arc<Samples>>>,
}

#[derive(Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl Counts {
    fn number(&self, key: &Key) -> Arc<AtomicU64> {
        let mut numbers = self.numbers.lock().unwrap();
        Arc::clone(numbers.entry(text_of(key)).or_default())
    }

    /// The counters that are not zero.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        let numbers = self.numbers.lock().unwrap();
        let counters = numbers.iter().filter(|(name, _)| *name != SESSIONS);
        counters
            .map(|(name, count)| (name.clone(), count.load(Ordering::SeqCst)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    pub(crate) fn open_sessions(&self) -> f64 {
        let numbers = self.numbers.lock().unwrap();
        f64::from_bits(numbers[SESSIONS].load(Ordering::SeqCst))
    }

    pub(crate) fn samples(&self, name: &str) -> Vec<f64> {
        let samples = Arc::clone(&self.samples.lock().unwrap()[name]);
        samples.0.lock().unwrap().clone()
    }
}

const SESSIONS: &str = "tidings_server_sessions";

fn text_of(key: &Key) -> String {
    let labels = key
        .labels()
        .map(|label| format!(" {}={}", label.key(), label.value()));
    key.name().to_owned() + &labels.collect::<String>()
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut samples = self.samples.lock().unwrap();
        Histogram::from_arc(Arc::clone(samples.entry(text_of(key)).or_default()))
    }
}
