//! Owns typed events: a serde enum as the protocol, its variants the names of the events.

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
    /// An event of a protocol that is a serde enum: the variant is the name, what it holds is the
    /// data, as JSON. [`typed`](Self::typed) is the way back.
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
    /// A variant without data has an empty `data` line, as an event without one is not heard.
    /// References, boxes and `#[serde(transparent)]` are seen through.
    ///
    /// Whatever else a value is (a struct, a map, a list, a number, an `Option`, an enum that is
    /// `#[serde(tag = "…")]` or `#[serde(untagged)]`) is the data alone, without a name, as by
    /// [`from_json`](Self::from_json).
    ///
    /// # Errors
    /// What the value's `Serialize` fails with; and a variant whose name cannot be one of an event:
    /// it holds CR or LF, or is empty and would be heard as `message`.
    pub fn from_typed<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Self::from_typed_in(value, &Json)
    }

    /// As [`from_typed`](Self::from_typed), in another [`Format`] than JSON.
    ///
    /// # Errors
    /// As [`from_typed`](Self::from_typed), and what the format cannot write.
    pub fn from_typed_in<T, F>(value: &T, format: &F) -> Result<Self, F::EncodeError>
    where
        T: Serialize + ?Sized,
        F: Format,
    {
        ser::event(value, format)
    }

    /// The value of a protocol that is a serde enum: its variant is chosen by the name, and what
    /// it holds is read from the data as JSON. [`from_typed`](Self::from_typed) is the way there.
    ///
    /// An event without a name is of the variant named `message`, its
    /// [`event_type`](Self::event_type). A variant that holds nothing does not read the data,
    /// whatever it is, as serde skips the fields that a struct does not have. A type that is no
    /// enum reads the data alone, under any name; an event without data is read as an empty one.
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
    /// * `#[serde(other)]` takes any other name, and drops both the name and the data. To keep
    ///   them, leave it out and use [`into_typed`](Self::into_typed).
    /// * An enum with a variant that is `#[serde(untagged)]` is read from the data alone, so that
    ///   the names of *all* its variants are lost; sent, the others are named all the same. So is
    ///   an enum within a `#[serde(untagged)]` one.
    /// * A borrowed `&str` is read only from a JSON string without escapes; `Cow<str>` with
    ///   `#[serde(borrow)]`, or `String`, from any.
    /// * JSON is nested at most 128 deep.
    ///
    /// # Errors
    /// There is no variant of that name, or the data is not of its shape.
    pub fn typed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        self.typed_in(&Json)
    }

    /// As [`typed`](Self::typed), in another [`Format`] than JSON.
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

    /// The same event with its data read as by [`typed`](Self::typed); what cannot be read keeps
    /// the whole event. Without data there is none to read.
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
    ///     panic!("there is no such variant");
    /// };
    /// assert_eq!(undecodable.into_event(), unknown);
    /// ```
    #[must_use]
    pub fn into_typed<T: DeserializeOwned>(self) -> Event<Result<T, Undecodable>> {
        self.into_typed_in(&Json)
    }

    /// As [`into_typed`](Self::into_typed), in another [`Format`] than JSON.
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
        // Moved, as it may be large; what is left to clone is small or shared.
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
