//! `TypedSession`: a session whose events are values of a serde enum.

use std::borrow::BorrowMut;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use tidings_proto::{Event, Format, Json, Undecodable};

use crate::{Error, Session};

/// A session whose events are values of one type, made by [`Session::typed`].
///
/// The `Err` of an item is the error of the session, and ends it. The `Err` within an event is one
/// event that is no value of the type: the session keeps it whole and continues, so that a client
/// works with a server that adds event names later. A [`strict`](Self::strict) session ends there.
/// An event without data, of comments or `retry` only, has `data` of `None`, and is delivered only
/// if the session [shows](crate::RequestBuilder::comments) such events.
///
/// ```no_run
/// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
/// #[derive(serde::Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Shop {
///     Price { cents: u32 },
/// }
///
/// let session = client.get("http://localhost:8080/shop").open().await?;
/// let mut shop = session.typed::<Shop>();
/// while let Some(event) = shop.try_next().await? {
///     match event.data {
///         Some(Ok(Shop::Price { cents })) => println!("{cents}"),
///         Some(Err(undecodable)) => eprintln!("{undecodable}"),
///         None => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "ClientSSESessionWithDeserialization")]
#[must_use = "nothing is read unless it is polled"]
pub struct TypedSession<T, F = Json, S = Session> {
    session: S,
    format: F,
    is_strict: bool,
    value: PhantomData<fn() -> T>,
}

impl Session {
    /// Reads the events of this session as values of a serde enum: the event's name chooses the
    /// variant, and the data is its content as JSON. See [`Event::typed`].
    ///
    /// A hub's [`Gap`](tidings_proto::Gap) is an event like any other: a variant `Gap(Gap)` receives
    /// it.
    ///
    /// ```no_run
    /// use tidings_client::{Error, Session};
    ///
    /// #[derive(serde::Deserialize)]
    /// #[serde(rename_all = "snake_case")]
    /// enum Shop {
    ///     Customer { id: u32, name: String },
    ///     Resync,
    /// }
    ///
    /// async fn read(session: Session) -> Result<(), Error> {
    ///     let mut shop = session.typed::<Shop>();
    ///     while let Some(event) = shop.try_next().await? {
    ///         match event.data {
    ///             Some(Ok(Shop::Customer { id, name })) => println!("{name} is number {id}"),
    ///             Some(Ok(Shop::Resync)) => println!("from the beginning"),
    ///             Some(Err(undecodable)) => eprintln!("{undecodable}: {}", undecodable.event()),
    ///             None => {}
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "deserialize")]
    pub fn typed<T: DeserializeOwned>(self) -> TypedSession<T> {
        TypedSession::over(self)
    }

    /// As [`typed`](Self::typed), for a borrowed session: one in a block of
    /// [`run`](crate::RequestBuilder::run), or one whose type changes in the middle of the stream.
    ///
    /// ```no_run
    /// # #[derive(serde::Deserialize)]
    /// # enum Shop { Resync }
    /// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
    /// let request = client.get("http://localhost:8080/shop");
    /// request.run(async |session| {
    ///     let mut shop = session.typed_mut::<Shop>();
    ///     while let Some(event) = shop.try_next().await? {
    ///         println!("{}", event.event_type());
    ///     }
    ///     Ok(())
    /// }).await
    /// # }
    /// ```
    pub fn typed_mut<T: DeserializeOwned>(&mut self) -> TypedSession<T, Json, &mut Self> {
        TypedSession::over(self)
    }
}

impl<T, S: BorrowMut<Session>> TypedSession<T, Json, S> {
    fn over(session: S) -> Self {
        Self {
            session,
            format: Json,
            is_strict: false,
            value: PhantomData,
        }
    }
}

impl<T, F, S: BorrowMut<Session>> TypedSession<T, F, S> {
    /// Reads data in this format. Default: [`Json`].
    ///
    /// ```
    /// # use tidings_client::{Format, Session, TypedSession};
    /// fn in_another_format<F: Format>(session: Session, format: F) -> TypedSession<u32, F> {
    ///     session.typed().format(format)
    /// }
    /// ```
    pub fn format<G: Format>(self, format: G) -> TypedSession<T, G, S> {
        TypedSession {
            session: self.session,
            format,
            is_strict: self.is_strict,
            value: PhantomData,
        }
    }

    /// Whether the first event that is no value of the type ends the session, with
    /// [`ErrorKind::Undecodable`](crate::ErrorKind::Undecodable). Default: `false`.
    ///
    /// The error's source is the [`Undecodable`], with the whole event:
    ///
    /// ```
    /// use std::error::Error as _;
    /// use tidings_client::{Error, Event, Undecodable};
    ///
    /// fn culprit(error: &Error) -> Option<&Event> {
    ///     Some(error.source()?.downcast_ref::<Undecodable>()?.event())
    /// }
    /// ```
    pub fn strict(mut self, strict: bool) -> Self {
        self.is_strict = strict;
        self
    }

    /// The underlying session, for its response or its last event ID.
    #[must_use]
    pub fn session(&self) -> &Session {
        self.session.borrow()
    }

    /// The underlying session, to close it, or to read an untyped event.
    pub fn session_mut(&mut self) -> &mut Session {
        self.session.borrow_mut()
    }

    /// The underlying session, untyped again. No event is lost.
    #[must_use]
    pub fn into_session(self) -> S {
        self.session
    }
}

impl<T: DeserializeOwned, F: Format, S: BorrowMut<Session>> TypedSession<T, F, S> {
    /// The next event; `None` once the session is over.
    ///
    /// # Errors
    /// The session failed, or is [`strict`](Self::strict) and received an event of another type. It
    /// is over.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn try_next(&mut self) -> Result<Option<Event<Result<T, Undecodable>>>, Error> {
        self.next().await.transpose()
    }

    /// The next item, in the form of [`Stream`]; `None` once the session is over.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Result<Event<Result<T, Undecodable>>, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn read(&mut self, event: Event) -> Result<Event<Result<T, Undecodable>>, Error> {
        let event = event.into_typed_in(&self.format);
        match event.data {
            Some(Err(undecodable)) if self.is_strict => Err(self
                .session
                .borrow_mut()
                .fail(Error::undecodable(undecodable))),
            Some(Ok(_) | Err(_)) | None => Ok(event),
        }
    }
}

impl<T: DeserializeOwned, F: Format, S: BorrowMut<Session>> Stream for TypedSession<T, F, S> {
    type Item = Result<Event<Result<T, Undecodable>>, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = ready!(Pin::new(this.session.borrow_mut()).poll_next(cx));
        Poll::Ready(item.map(|read| read.and_then(|event| this.read(event))))
    }
}

// No field is ever pinned.
impl<T, F, S> Unpin for TypedSession<T, F, S> {}

impl<T, F, S: fmt::Debug> fmt::Debug for TypedSession<T, F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedSession")
            .field("session", &self.session)
            .field("is_strict", &self.is_strict)
            .finish_non_exhaustive()
    }
}
