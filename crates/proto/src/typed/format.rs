//! `Format`: the text format of typed data, and `Json`, the default.

use serde::de::{self, DeserializeSeed};
use serde::ser::{self, Serialize};

/// The text format of the data of typed events. Default: [`Json`].
///
/// A format is a pair of a serde serializer and a serde deserializer over text. It receives the content
/// of an enum variant and never the variant itself, which is the event name. So a format works with each
/// variant whose content it can write: a struct, a tuple, or the value in a newtype variant.
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
    /// The error of writing. A format without an error type of its own can use
    /// [`serde::de::value::Error`].
    type EncodeError: ser::Error + Send + Sync + 'static;

    /// The error of reading.
    type DecodeError: de::Error + Send + Sync + 'static;

    /// Writes the value as text.
    ///
    /// Any text is allowed, but each CRLF and CR is received as LF. For a unit variant, the format writes
    /// a unit, and its text is not sent.
    ///
    /// # Errors
    /// The format cannot write such a value, or the value's `Serialize` fails.
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<String, Self::EncodeError>;

    /// Reads the whole text as one value, with this seed.
    ///
    /// # Errors
    /// The text is not in the format, the seed fails, or there is more text after the value.
    fn decode<'de, S: DeserializeSeed<'de>>(
        &self,
        data: &'de str,
        seed: S,
    ) -> Result<S::Value, Self::DecodeError>;
}

/// JSON, the default [`Format`] of typed events.
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
