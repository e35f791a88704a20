//! The deserializer that takes the variant from the event name.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, VariantAccess, Visitor};

use crate::Event;
use crate::typed::Format;

/// An event, read as an enum by its name, and as any other type from its data alone.
pub(super) struct EventDeserializer<'de, 'f, F> {
    name: &'de str,
    data: &'de str,
    format: &'f F,
}

impl<'de, 'f, F: Format> EventDeserializer<'de, 'f, F> {
    pub(super) fn new(event: &'de Event, format: &'f F) -> Self {
        Self {
            name: event.event_type(),
            data: event.text(),
            format,
        }
    }
}

/// Methods that call the method of the same name on the deserializer of the format.
macro_rules! leave_to_the_format {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($arg: $type,)*
            visitor: V,
        ) -> Result<V::Value, F::DecodeError> {
            struct Seed<V> {
                $($arg: $type,)*
                visitor: V,
            }

            impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Seed<V> {
                type Value = V::Value;

                fn deserialize<D: Deserializer<'de>>(self, data: D) -> Result<V::Value, D::Error> {
                    data.$method($(self.$arg,)* self.visitor)
                }
            }

            self.format.decode(self.data, Seed { $($arg,)* visitor })
        }
    )*};
}

impl<'de, F: Format> Deserializer<'de> for EventDeserializer<'de, '_, F> {
    type Error = F::DecodeError;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, F::DecodeError> {
        visitor.visit_enum(EnumByName { name, event: self })
    }

    leave_to_the_format! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

/// An event as an enum: the variant from the name, then its content from the data.
struct EnumByName<'de, 'f, F> {
    /// The name of the enum.
    name: &'static str,
    event: EventDeserializer<'de, 'f, F>,
}

impl<'de, F: Format> EnumAccess<'de> for EnumByName<'de, '_, F> {
    type Error = F::DecodeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self), F::DecodeError> {
        let variant = seed.deserialize(BorrowedStrDeserializer::new(self.event.name))?;
        Ok((variant, self))
    }
}

impl<'de, F: Format> VariantAccess<'de> for EnumByName<'de, '_, F> {
    type Error = F::DecodeError;

    fn unit_variant(self) -> Result<(), F::DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, F::DecodeError> {
        self.event.format.decode(self.event.data, seed)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, F::DecodeError> {
        self.event.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, F::DecodeError> {
        self.event.deserialize_struct(self.name, fields, visitor)
    }
}
