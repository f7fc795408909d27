//! How ids are spelled in a saved command (an outbox, a draft): as text, so that a person can read it.
//! Must never be used on the wire.

/// Values that are written with `Display` and read with `FromStr`.
pub(super) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::document) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(in crate::document) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// An optional ULID.
pub(super) mod optional_ulid {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::ids::Ulid;

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(in crate::document) fn serialize<S: Serializer>(
        value: &Option<Ulid>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(id) => to.collect_str(id),
            None => to.serialize_none(),
        }
    }

    pub(in crate::document) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Ulid>, D::Error> {
        Option::<String>::deserialize(from)?
            .map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}

/// A user name.
pub(super) mod user {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::ids::UserId;

    pub(in crate::document) fn serialize<S: Serializer>(
        value: &UserId,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.as_str())
    }

    pub(in crate::document) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<UserId, D::Error> {
        UserId::new(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A time in milliseconds.
pub(super) mod millis {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::clock::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    pub(in crate::document) fn serialize<S: Serializer>(
        value: &Timestamp,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.0)
    }

    pub(in crate::document) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Timestamp, D::Error> {
        u64::deserialize(from).map(Timestamp)
    }
}
