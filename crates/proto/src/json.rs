//! Owns JSON in the data of an event.

use serde::Serialize;
use serde::de::Deserialize;

use crate::Event;

impl Event {
    /// An event whose data is this value as JSON.
    ///
    /// ```
    /// # use tidings_proto::Event;
    /// assert_eq!(Event::from_json(&[100, 200])?.text(), "[100,200]");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the value's `Serialize` fails with.
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::new(serde_json::to_string(value)?))
    }

    /// The data, read as JSON.
    ///
    /// ```
    /// # use tidings_proto::Event;
    /// assert_eq!(Event::new("[100,200]").json::<Vec<u32>>()?, [100, 200]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// The data is not JSON of such a value, or there is none.
    #[doc(alias = "deserialize")]
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }
}
