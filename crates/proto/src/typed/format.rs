//! Owns `Format`: how the data of typed events is written and read, and `Json`, the default.

use serde::de::{self, DeserializeSeed};
use serde::ser::{self, Serialize};

/// How the data of typed events is written and read; [`Json`] unless said otherwise.
///
/// A format is any pair of serde's serializer and deserializer over text. It sees what an enum's
/// variant holds, never the variant itself (that is the event's name), so each kind of variant
/// works in each format that has its shape: structs, lists, or whatever a newtype variant holds.
///
/// ```
/// use serde::Serialize;
/// use serde::de::DeserializeSeed;
/// use tidings_proto::{Event, Format, Json};
///
/// /// JSON over several lines.
/// struct Pretty;
///
/// impl Format for Pretty {
///     type EncodeError = serde_json::Error;
///     type DecodeError = serde_json::Error;
///
///     fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<String, serde_json::Error> {
///         serde_json::to_string_pretty(value)
///     }
///
///     fn decode<'de, S>(&self, data: &'de str, seed: S) -> Result<S::Value, serde_json::Error>
///     where
///         S: DeserializeSeed<'de>,
///     {
///         let mut json = serde_json::Deserializer::from_str(data);
///         let value = seed.deserialize(&mut json)?;
///         json.end()?;
///         Ok(value)
///     }
/// }
///
/// #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
/// enum Shop {
///     Price { cents: u32 },
/// }
///
/// let event = Event::from_typed_in(&Shop::Price { cents: 5 }, &Pretty)?;
/// assert_eq!(event.to_string(), "event: Price\ndata: {\ndata:   \"cents\": 5\ndata: }\n\n");
/// assert_eq!(event.typed_in::<Shop, _>(&Pretty)?, Shop::Price { cents: 5 });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[doc(alias = "serialize")]
#[doc(alias = "deserialize")]
pub trait Format {
    /// Why a value cannot be written. [`serde::de::value::Error`] will do for a format without an
    /// error of its own.
    type EncodeError: ser::Error + Send + Sync + 'static;

    /// Why data cannot be read.
    type DecodeError: de::Error + Send + Sync + 'static;

    /// The value as text.
    ///
    /// Any text is carried, but each CRLF and CR in it is read back as LF. A unit variant is
    /// shown to the format as a unit, and nothing of what it makes of that is sent.
    ///
    /// # Errors
    /// The format has no text for such a value, or the value's `Serialize` fails.
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<String, Self::EncodeError>;

    /// The value that all of the text is of: what the seed makes of a deserializer over it.
    ///
    /// # Errors
    /// The text is not of the format, the seed fails, or there is more text after the value.
    fn decode<'de, S: DeserializeSeed<'de>>(
        &self,
        data: &'de str,
        seed: S,
    ) -> Result<S::Value, Self::DecodeError>;
}

/// JSON, the [`Format`] of typed events unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Json;

impl Format for Json {
    type EncodeError = serde_json::Error;
    type DecodeError = serde_json::Error;

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<String, serde_json::Error> {
        serde_json::to_string(value)
    }

    fn decode<'de, S: DeserializeSeed<'de>>(
        &self,
        data: &'de str,
        seed: S,
    ) -> Result<S::Value, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(data);
        let value = seed.deserialize(&mut json)?;
        json.end()?;
        Ok(value)
    }
}
