//! Scalars of the wire that never fail: what is not what it should be is remembered as bad, to be
//! counted, and its neighbours live on.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::kube::parse_timestamp;

/// A field that may be absent (or null), good, or something that it should not be.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Field<T> {
    /// Not there.
    #[default]
    Absent,
    /// A value.
    Is(T),
    /// There, but of another type or out of range.
    Bad,
}

impl<T: Copy> Field<T> {
    /// The value, if it is good.
    pub fn get(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Bad => None,
        }
    }
}

/// What a field can be read from.
pub trait Scalar: Sized {
    /// From a whole number.
    fn whole(_: u64) -> Option<Self> {
        None
    }
    /// From a negative number.
    fn negative(_: i64) -> Option<Self> {
        None
    }
    /// From a number with a fraction or exponent, or a whole one beyond 64 bits.
    fn fraction(_: f64) -> Option<Self> {
        None
    }
    /// From text.
    fn text(_: &str) -> Option<Self> {
        None
    }
    /// From true or false.
    fn truth(_: bool) -> Option<Self> {
        None
    }
}

impl Scalar for u64 {
    fn whole(value: u64) -> Option<Self> {
        Some(value)
    }
}

impl Scalar for f64 {
    fn whole(value: u64) -> Option<Self> {
        Some(value as f64)
    }

    fn negative(value: i64) -> Option<Self> {
        Some(value as f64)
    }

    fn fraction(value: f64) -> Option<Self> {
        value.is_finite().then_some(value)
    }
}

impl Scalar for bool {
    fn truth(value: bool) -> Option<Self> {
        Some(value)
    }
}

/// A time, ns since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub i64);

impl Scalar for Nanos {
    fn text(value: &str) -> Option<Self> {
        parse_timestamp(value).map(Nanos)
    }
}

/// Go writes its zero time where it knows none: absent, not wrong.
const GO_ZERO_TIME: &str = "0001-01-01T00:00:00Z";

struct FieldVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Scalar> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor(std::marker::PhantomData))
    }
}

fn good<T, E>(value: Option<T>) -> Result<Field<T>, E> {
    Ok(value.map_or(Field::Bad, Field::Is))
}

impl<'de, T: Scalar> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        good(T::whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        good(u64::try_from(value).map_or_else(|_| T::negative(value), T::whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        good(T::fraction(value))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        good(T::truth(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        if value == GO_ZERO_TIME {
            return Ok(Field::Absent);
        }
        good(T::text(value))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Bad)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Bad)
    }
}

/// Text, borrowed from the body unless it has escapes. Absent, null and non-text are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_owned())))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_of_64_bits_are_numbers() {
        for (json, want) in [
            ("0", Field::Is(0)),
            ("18446744073709551615", Field::Is(u64::MAX)),
            ("null", Field::Absent),
            ("-1", Field::Bad),
            ("1.5", Field::Bad),
            ("1e3", Field::Bad),
            ("18446744073709551616", Field::Bad),
            (r#""12""#, Field::Bad),
            ("true", Field::Bad),
            ("[1,[2]]", Field::Bad),
            (r#"{"a":{"b":1}}"#, Field::Bad),
        ] {
            assert_eq!(serde_json::from_str::<Field<u64>>(json).unwrap(), want, "{json}");
        }
    }

    #[test]
    fn times_floats_and_text_bear_what_they_are_not() {
        for (json, want) in [
            (r#""1970-01-01T00:00:01Z""#, Field::Is(Nanos(1_000_000_000))),
            (r#""0001-01-01T00:00:00Z""#, Field::Absent),
            ("null", Field::Absent),
            (r#""soon""#, Field::Bad),
            ("5", Field::Bad),
        ] {
            assert_eq!(serde_json::from_str::<Field<Nanos>>(json).unwrap(), want, "{json}");
        }
        assert_eq!(serde_json::from_str::<Field<f64>>("7").unwrap(), Field::Is(7.0));
        assert_eq!(serde_json::from_str::<Field<f64>>("-0.5").unwrap(), Field::Is(-0.5));
        assert_eq!(serde_json::from_str::<Field<bool>>("true").unwrap(), Field::Is(true));
        for (json, want) in [(r#""a\nb""#, "a\nb"), ("null", ""), ("7", ""), ("[]", ""), ("{}", "")] {
            assert_eq!(&*serde_json::from_str::<Text<'_>>(json).unwrap(), want, "{json}");
        }
    }
}
