//! Serde deserialiser for names and values: a query, a form, path parameters.

use std::borrow::Cow;
use std::vec;

use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Names and values in order.
pub(crate) struct Pairs<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Values may be addressed by position as well as by name.
    positional: bool,
}

/// A name or value is not UTF-8.
pub(crate) struct NotText {
    /// The name of the pair, as received.
    pub(crate) name: String,
}

impl<'a> Pairs<'a> {
    /// Parses `application/x-www-form-urlencoded` (URL standard, section 5.1): pairs are separated
    /// by `&` and split at the first `=`. A percent sign without two hex digits stands for itself.
    pub(crate) fn of_form(text: &'a [u8]) -> Result<Self, NotText> {
        let parts = text.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
        let pairs = parts.map(|part| {
            let at = part.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((part, &[][..]), |at| (&part[..at], &part[at + 1..]));
            pair(name, value, true)
        });
        Ok(Self { pairs: pairs.collect::<Result<_, _>>()?, positional: false })
    }

    /// The parameters of a path, percent-encoded.
    pub(crate) fn of_params(
        params: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, NotText> {
        let pairs = params.map(|(name, value)| {
            Ok((
                Cow::Borrowed(name),
                decode(value.as_bytes(), false).ok_or(NotText { name: name.to_owned() })?,
            ))
        });
        Ok(Self { pairs: pairs.collect::<Result<_, _>>()?, positional: true })
    }

    /// Groups the values by name, in order.
    fn grouped(mut self) -> Vec<(Cow<'a, str>, Value<'a>)> {
        self.pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut groups: Vec<(Cow<'a, str>, Value<'a>)> = Vec::with_capacity(self.pairs.len());
        for (name, value) in self.pairs {
            match groups.last_mut() {
                Some((last, values)) if *last == name => values.more.push(value),
                _ => groups.push((name, Value { first: value, more: Vec::new() })),
            }
        }
        groups
    }

    fn values(self) -> impl Iterator<Item = Value<'a>> {
        self.pairs.into_iter().map(|(_, value)| Value { first: value, more: Vec::new() })
    }

    /// The single value, if there is exactly one.
    fn only(self) -> Result<Value<'a>, Error> {
        let (positional, count) = (self.positional, self.pairs.len());
        match self.values().next() {
            Some(value) if positional && count == 1 => Ok(value),
            _ if positional => Err(Error::custom(format_args!("there are {count} parameters"))),
            _ => Err(Error::custom("names and values need a struct or a map")),
        }
    }
}

fn pair<'a>(
    name: &'a [u8],
    value: &'a [u8],
    plus: bool,
) -> Result<(Cow<'a, str>, Cow<'a, str>), NotText> {
    match (decode(name, plus), decode(value, plus)) {
        (Some(name), Some(value)) => Ok((name, value)),
        _ => Err(NotText { name: String::from_utf8_lossy(name).into_owned() }),
    }
}

/// Percent-decodes; with `plus`, `+` is a space, as in forms. `None` if the result is not UTF-8.
fn decode(text: &[u8], plus: bool) -> Option<Cow<'_, str>> {
    if !text.iter().any(|byte| *byte == b'%' || plus && *byte == b'+') {
        return str::from_utf8(text).ok().map(Cow::Borrowed);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let digit = |at: usize| Some((*text.get(at)? as char).to_digit(16)? as u8);
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 2;
            }
            (b'+', ..) if plus => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

macro_rules! only {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.only()?.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Pairs<'de> {
    type Error = Error;

    only! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut map = MapDeserializer::new(self.grouped().into_iter());
        let value = visitor.visit_map(&mut map)?;
        map.end()?;
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.positional {
            let mut values = SeqDeserializer::new(self.values());
            let value = visitor.visit_seq(&mut values)?;
            values.end()?;
            return Ok(value);
        }
        let pairs = self.pairs.into_iter().map(|(name, value)| (name, Value::from(value)));
        let mut pairs = MapDeserializer::new(pairs);
        let value = visitor.visit_seq(&mut pairs)?;
        pairs.end()?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.pairs.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// The values of one name.
struct Value<'a> {
    first: Cow<'a, str>,
    more: Vec<Cow<'a, str>>,
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(first: Cow<'a, str>) -> Self {
        Self { first, more: Vec::new() }
    }
}

impl<'a> Value<'a> {
    fn one(self) -> Result<Cow<'a, str>, Error> {
        if self.more.is_empty() { Ok(self.first) } else { Err(Error::custom("it comes twice")) }
    }
}

impl<'de> IntoDeserializer<'de, Error> for Value<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.one()?.parse().map_err(Error::custom)?)
        })*
    };
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    parsed! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32
        deserialize_i64 visit_i64 deserialize_i128 visit_i128
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32
        deserialize_u64 visit_u64 deserialize_u128 visit_u128
        deserialize_f32 visit_f32 deserialize_f64 visit_f64 deserialize_char visit_char
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.one()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let values = [self.first].into_iter().chain(self.more).map(Self::from);
        let mut values = SeqDeserializer::new(values.collect::<Vec<_>>().into_iter());
        let value = visitor.visit_seq(&mut values as &mut SeqDeserializer<vec::IntoIter<_>, _>)?;
        values.end()?;
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.one()?.into_deserializer())
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
        ignored_any
    }
}
