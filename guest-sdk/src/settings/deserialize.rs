//! What serde asks of the reader. A kind of value that no settings ask for is not in the rule.

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::Wrong;
use super::reader::{Inside, Reader, float};

macro_rules! integers {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let start = self.at;
            if self.is_number() {
                let number = self.word()?;
                if let Ok(value) = number.parse() {
                    return visitor.visit_i64(value);
                }
                if let Ok(value) = number.parse() {
                    return visitor.visit_u64(value);
                }
                self.at = start;
            }
            Err(self.wrong_type(&visitor))
        })+
    };
}

macro_rules! strings {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self.peek() {
                Some(b'"') => visitor.visit_string(self.string()?),
                _ => Err(self.wrong_type(&visitor)),
            }
        })+
    };
}

macro_rules! floats {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            if !self.is_number() {
                return Err(self.wrong_type(&visitor));
            }
            match float(self.word()?) {
                Some(value) => visitor.visit_f64(value),
                None => Err(self.broken()),
            }
        })+
    };
}

impl<'de> de::Deserializer<'de> for &mut Reader<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.peek() {
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b'"') => self.deserialize_string(visitor),
            Some(b't' | b'f') => self.deserialize_bool(visitor),
            Some(b'n') => self.deserialize_unit(visitor),
            _ => {
                let start = self.at;
                let whole = self.word()?.parse::<i64>().is_ok();
                self.at = start;
                if whole { self.deserialize_i64(visitor) } else { self.deserialize_f64(visitor) }
            }
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }
    floats! { deserialize_f32 deserialize_f64 }
    strings! { deserialize_char deserialize_str deserialize_string deserialize_identifier }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let start = self.at;
        if matches!(self.peek(), Some(b't' | b'f')) {
            match self.word()? {
                "true" => return visitor.visit_bool(true),
                "false" => return visitor.visit_bool(false),
                _ => self.at = start,
            }
        }
        Err(self.wrong_type(&visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.peek() == Some(b'n') { self.deserialize_unit(visitor) } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let start = self.at;
        if self.peek() == Some(b'n') && self.word()? == "null" {
            return visitor.visit_unit();
        }
        self.at = start;
        Err(self.wrong_type(&visitor))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.peek() {
            Some(b'[') => self.within(b']', |reader| visitor.visit_seq(Items { reader, next: 0 })),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.peek() {
            Some(b'{') => self.within(b'}', |reader| visitor.visit_map(Items { reader, next: 0 })),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_map(visitor)
    }

    /// A variant is its name, or a table of one key whose value is what the variant holds.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.peek() {
            Some(b'"') => visitor.visit_enum(self.string()?.into_deserializer()),
            Some(b'{') => self.within(b'}', |reader| visitor.visit_enum(Variant(reader))),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.peek() {
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b'"') => self.deserialize_string(visitor),
            _ => self.word().map(drop).and_then(|()| visitor.visit_unit()),
        }
    }
}

/// What a table or list holds.
struct Items<'r, 'j> {
    reader: &'r mut Reader<'j>,
    next: usize,
}

impl Items<'_, '_> {
    /// Whether another one follows, and goes over the comma before it.
    fn another(&mut self, end: u8) -> Result<bool, Wrong> {
        if self.reader.peek() == Some(end) {
            return Ok(false);
        }
        if self.next > 0 {
            self.reader.take(b',')?;
        }
        self.next += 1;
        Ok(true)
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        if !self.another(b']')? {
            return Ok(None);
        }
        self.reader.path.push(Inside::Item(self.next - 1));
        let item = seed.deserialize(&mut *self.reader)?;
        self.reader.path.pop();
        Ok(Some(item))
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, '_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        if !self.another(b'}')? {
            return Ok(None);
        }
        let key = self.reader.string()?;
        self.reader.take(b':')?;
        let known = seed.deserialize(key.as_str().into_deserializer())?;
        self.reader.path.push(Inside::Key(key));
        Ok(Some(known))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let value = seed.deserialize(&mut *self.reader)?;
        self.reader.path.pop();
        Ok(value)
    }
}

/// A variant that holds something.
struct Variant<'r, 'j>(&'r mut Reader<'j>);

impl<'de> de::EnumAccess<'de> for Variant<'_, '_> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Wrong> {
        let name = self.0.string()?;
        self.0.take(b':')?;
        Ok((seed.deserialize(name.as_str().into_deserializer())?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, '_> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        de::Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Wrong> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Wrong> {
        de::Deserializer::deserialize_seq(self.0, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Wrong> {
        de::Deserializer::deserialize_map(self.0, visitor)
    }
}
