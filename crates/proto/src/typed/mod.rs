//! Typed events: a serde enum whose variants are event names.

mod de;
mod format;
mod ser;
mod undecodable;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Event;
use de::EventDeserializer;

pub use format::{Format, Json};
pub use undecodable::Undecodable;

impl Event {
    /// Makes an event from a value of a serde enum: the variant is the name, and its content is the data,
    /// in JSON. [`typed`](Self::typed) is the inverse.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use tidings_proto::Event;
    ///
    /// #[derive(Serialize, Deserialize, Debug, PartialEq)]
    /// #[serde(rename_all = "snake_case")]
    /// enum Shop {
    ///     Customer(Customer),
    ///     Price { cents: u32 },
    ///     Span(u32, u32),
    ///     Resync,
    /// }
    ///
    /// #[derive(Serialize, Deserialize, Debug, PartialEq)]
    /// struct Customer {
    ///     id: u32,
    /// }
    ///
    /// for (value, wire) in [
    ///     (Shop::Customer(Customer { id: 0 }), "event: customer\ndata: {\"id\":0}\n\n"),
    ///     (Shop::Price { cents: 5 }, "event: price\ndata: {\"cents\":5}\n\n"),
    ///     (Shop::Span(1, 2), "event: span\ndata: [1,2]\n\n"),
    ///     (Shop::Resync, "event: resync\ndata:\n\n"),
    /// ] {
    ///     let event = Event::from_typed(&value)?;
    ///     assert_eq!(event.to_string(), wire);
    ///     assert_eq!(event.typed::<Shop>()?, value);
    /// }
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// A variant without content has an empty `data` line, because a client does not deliver an event
    /// without data. References, boxes and `#[serde(transparent)]` make no difference.
    ///
    /// Any other value (a struct, a map, a list, a number, an `Option`, an enum with
    /// `#[serde(tag = "…")]` or `#[serde(untagged)]`) becomes the data of an event without a name, as by
    /// [`from_json`](Self::from_json).
    ///
    /// # Errors
    /// The error of the value's `Serialize`. It also fails for a variant whose name cannot be an event
    /// name: one that contains CR or LF, or an empty one, which would mean `message`.
    pub fn from_typed<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Self::from_typed_in(value, &Json)
    }

    /// As [`from_typed`](Self::from_typed), in this [`Format`].
    ///
    /// # Errors
    /// As [`from_typed`](Self::from_typed). It also fails if the format cannot write such a value.
    pub fn from_typed_in<T, F>(value: &T, format: &F) -> Result<Self, F::EncodeError>
    where
        T: Serialize + ?Sized,
        F: Format,
    {
        ser::event(value, format)
    }

    /// Reads the event as a value of a serde enum: the name selects the variant, and the data is its
    /// content, in JSON. [`from_typed`](Self::from_typed) is the inverse.
    ///
    /// An event without a name has the variant `message`, its [`event_type`](Self::event_type). A variant
    /// without content ignores the data, as serde ignores fields that a struct does not have. A type that
    /// is not an enum reads the data alone, under any name. An event without data reads as empty data.
    ///
    /// ```
    /// use tidings_proto::{Event, EventName};
    ///
    /// #[derive(serde::Deserialize, Debug, PartialEq)]
    /// #[serde(rename_all = "snake_case")]
    /// enum Chat<'a> {
    ///     Message(&'a str),
    ///     Done,
    /// }
    ///
    /// let event = Event::new("\"hello\"");
    /// assert_eq!(event.typed::<Chat>()?, Chat::Message("hello"));
    /// let event = Event::new("[DONE]").event(EventName::from_static("done"));
    /// assert_eq!(event.typed::<Chat>()?, Chat::Done);
    ///
    /// let event = Event::new("{}").event(EventName::from_static("typing"));
    /// let error = event.typed::<Chat>().unwrap_err();
    /// assert_eq!(error.to_string(), "unknown variant `typing`, expected `message` or `done`");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Limits
    /// * `#[serde(other)]` accepts any other name, and drops the name and the data. To keep them, leave it
    ///   out and use [`into_typed`](Self::into_typed).
    /// * An enum with a `#[serde(untagged)]` variant is read from the data alone, so the names of *all* its
    ///   variants are lost. Its other variants are still sent with their names. The same holds for an enum
    ///   in a `#[serde(untagged)]` enum.
    /// * A `&str` is read only from a JSON string without escapes. `String`, and `Cow<str>` with
    ///   `#[serde(borrow)]`, are read from any.
    /// * JSON is nested at most 128 levels deep.
    ///
    /// # Errors
    /// The enum has no variant of that name, or the data does not fit the variant.
    pub fn typed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        self.typed_in(&Json)
    }

    /// As [`typed`](Self::typed), in this [`Format`].
    ///
    /// # Errors
    /// As [`typed`](Self::typed).
    pub fn typed_in<'a, T, F>(&'a self, format: &F) -> Result<T, F::DecodeError>
    where
        T: Deserialize<'a>,
        F: Format,
    {
        T::deserialize(EventDeserializer::new(self, format))
    }

    /// Reads the data as [`typed`](Self::typed) does, and keeps the other fields. If that fails, the error
    /// contains the whole event. An event without data stays without.
    ///
    /// ```
    /// # use tidings_proto::{Event, EventName};
    /// #[derive(serde::Deserialize, Debug)]
    /// #[serde(rename_all = "snake_case")]
    /// enum Shop {
    ///     Price { cents: u32 },
    /// }
    ///
    /// let price = Event::new("{\"cents\":5}").event(EventName::from_static("price")).id(7);
    /// let typed = price.into_typed::<Shop>();
    /// assert_eq!(typed.id.as_deref(), Some("7"));
    /// assert!(matches!(typed.data, Some(Ok(Shop::Price { cents: 5 }))));
    ///
    /// let unknown = Event::new("…").event(EventName::from_static("weather")).id(8);
    /// let Some(Err(undecodable)) = unknown.clone().into_typed::<Shop>().data else {
    ///     panic!("the enum has no such variant");
    /// };
    /// assert_eq!(undecodable.into_event(), unknown);
    /// ```
    #[must_use]
    pub fn into_typed<T: DeserializeOwned>(self) -> Event<Result<T, Undecodable>> {
        self.into_typed_in(&Json)
    }

    /// As [`into_typed`](Self::into_typed), in this [`Format`].
    #[must_use]
    pub fn into_typed_in<T, F>(mut self, format: &F) -> Event<Result<T, Undecodable>>
    where
        T: DeserializeOwned,
        F: Format,
    {
        let cause = match self.typed_in(format) {
            Ok(value) => return self.map(|_| Ok(value)),
            Err(cause) => cause,
        };
        // Moves the data, which may be large. The other fields are small or shared.
        let data = self.data.take().map(|text| {
            let event = Self {
                data: Some(text),
                ..self.clone()
            };
            Err(Undecodable::new(event, cause))
        });
        Event {
            data,
            event: self.event,
            id: self.id,
            retry: self.retry,
            comments: self.comments,
        }
    }
}
