//! The serializer that moves the variant into the event name.

use std::cell::Cell;

use serde::ser::{
    Error, Serialize, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleVariant, Serializer,
};

use crate::typed::Format;
use crate::{Event, EventName};

/// Makes an event from this value.
pub(super) fn event<T, F>(value: &T, format: &F) -> Result<Event, F::EncodeError>
where
    T: Serialize + ?Sized,
    F: Format,
{
    let variant = Cell::new(None);
    let payload = Payload {
        value,
        variant: &variant,
    };
    let data = format.encode(&payload);
    match variant.get() {
        None => Ok(Event::new(data?)),
        Some(Variant::Unit(name)) => Ok(Event::new("").event(event_name(name)?)),
        Some(Variant::Holding(name)) => Ok(Event::new(data?).event(event_name(name)?)),
    }
}

/// The name of a variant as an event name, without a copy.
fn event_name<E: Error>(variant: &'static str) -> Result<EventName, E> {
    if variant.is_empty() || variant.contains(['\r', '\n']) {
        return Err(E::custom(format_args!(
            "the variant {variant:?} cannot be an event name: it must not be empty or contain CR or LF"
        )));
    }
    Ok(EventName::from_static(variant))
}

#[derive(Clone, Copy)]
enum Variant {
    Unit(&'static str),
    Holding(&'static str),
}

/// The value without its variant, for the format to write.
struct Payload<'a, T: ?Sized> {
    value: &'a T,
    /// Set while the payload is written. `None` if the value is not an enum.
    variant: &'a Cell<Option<Variant>>,
}

impl<T: Serialize + ?Sized> Serialize for Payload<'_, T> {
    fn serialize<S: Serializer>(&self, format: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(PayloadSerializer {
            format,
            variant: self.variant,
        })
    }
}

/// Writes the outermost value: keeps the name of a variant, and writes the rest with the format.
///
/// It reports that it is human readable, for each format. So does the deserializer, which cannot ask the
/// format before it has the variant. So a value is read as it was written.
struct PayloadSerializer<'a, S> {
    format: S,
    variant: &'a Cell<Option<Variant>>,
}

/// Methods that call the method of the same name on the serializer of the format.
macro_rules! leave_to_the_format {
    ($($method:ident($($arg:ident: $type:ty),*) -> $ok:ident;)*) => {$(
        fn $method(self, $($arg: $type),*) -> Result<Self::$ok, S::Error> {
            self.format.$method($($arg),*)
        }
    )*};
}

impl<S: Serializer> Serializer for PayloadSerializer<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = S::SerializeSeq;
    type SerializeTuple = S::SerializeTuple;
    type SerializeTupleStruct = S::SerializeTupleStruct;
    type SerializeTupleVariant = Unnamed<S::SerializeTuple>;
    type SerializeMap = S::SerializeMap;
    type SerializeStruct = S::SerializeStruct;
    type SerializeStructVariant = Unnamed<S::SerializeStruct>;

    leave_to_the_format! {
        serialize_bool(value: bool) -> Ok;
        serialize_i8(value: i8) -> Ok;
        serialize_i16(value: i16) -> Ok;
        serialize_i32(value: i32) -> Ok;
        serialize_i64(value: i64) -> Ok;
        serialize_i128(value: i128) -> Ok;
        serialize_u8(value: u8) -> Ok;
        serialize_u16(value: u16) -> Ok;
        serialize_u32(value: u32) -> Ok;
        serialize_u64(value: u64) -> Ok;
        serialize_u128(value: u128) -> Ok;
        serialize_f32(value: f32) -> Ok;
        serialize_f64(value: f64) -> Ok;
        serialize_char(value: char) -> Ok;
        serialize_str(value: &str) -> Ok;
        serialize_bytes(value: &[u8]) -> Ok;
        serialize_none() -> Ok;
        serialize_unit() -> Ok;
        serialize_unit_struct(name: &'static str) -> Ok;
        serialize_seq(length: Option<usize>) -> SerializeSeq;
        serialize_tuple(length: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, length: usize) -> SerializeTupleStruct;
        serialize_map(length: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, length: usize) -> SerializeStruct;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.format.serialize_some(value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.format.serialize_newtype_struct(name, value)
    }

    fn serialize_unit_variant(
        self,
        _enum: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.variant.set(Some(Variant::Unit(variant)));
        self.format.serialize_unit()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _enum: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.variant.set(Some(Variant::Holding(variant)));
        value.serialize(self.format)
    }

    fn serialize_tuple_variant(
        self,
        _enum: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.variant.set(Some(Variant::Holding(variant)));
        self.format.serialize_tuple(length).map(Unnamed)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.variant.set(Some(Variant::Holding(variant)));
        self.format.serialize_struct(name, length).map(Unnamed)
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.format.collect_str(value)
    }
}

/// The content of a tuple or struct variant, as a tuple or struct.
struct Unnamed<S>(S);

impl<S: SerializeTuple> SerializeTupleVariant for Unnamed<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_element(value)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

impl<S: SerializeStruct> SerializeStructVariant for Unnamed<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        self.0.serialize_field(key, value)
    }

    fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
        self.0.skip_field(key)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}
