//! JSON in the data of an event.

use serde::Serialize;
use serde::de::Deserialize;

use crate::Event;

impl Event {
    /// An event with this value as data, in JSON.
    ///
    /// ```
    /// # use tidings_proto::Event;
    /// assert_eq!(Event::from_json(&[100, 200])?.text(), "[100,200]");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of the value's `Serialize`.
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::new(serde_json::to_string(value)?))
    }

    /// Reads the data as JSON.
    ///
    /// ```
    /// # use tidings_proto::Event;
    /// assert_eq!(Event::new("[100,200]").json::<Vec<u32>>()?, [100, 200]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// The event has no data, or the data is not JSON for such a value.
    #[doc(alias = "deserialize")]
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }
}
