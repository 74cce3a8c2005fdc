//! Identifiers of instances and hosts, canonical by construction.
//!
//! They arrive in file names, datagrams and HTTP paths and leave in URLs, so anything but the 36
//! lower-case characters is refused at the door: no braces, no `urn:`, no missing hyphens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// A text that is not the canonical form of a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a canonical uuid (36 lower-case characters, 8-4-4-4-12): {0:?}")]
pub struct ParseIdError(String);

/// The longest piece of a refused text that an error repeats, in characters.
const QUOTED: usize = 48;

fn parse(text: &str) -> Result<Uuid, ParseIdError> {
    let refused = || ParseIdError(text.chars().take(QUOTED).collect());
    let uuid = text.parse::<Hyphenated>().map_err(|_| refused())?.into_uuid();
    // The parser takes upper case too; the wire, the file names and the URLs do not.
    let mut canonical = [0; Hyphenated::LENGTH];
    if uuid.as_hyphenated().encode_lower(&mut canonical) == text {
        Ok(uuid)
    } else {
        Err(refused())
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The identifier made of these 128 bits.
            #[must_use]
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = [0; Hyphenated::LENGTH];
                serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

identifier! {
    /// A virtual machine, as the orchestrator and the channel's file name know it.
    InstanceId
}

identifier! {
    /// A host, as the maintenance system knows it.
    HostId
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANONICAL: &str = "8d80875b-fa73-4ccb-bce3-1cd4df104400";

    #[test]
    fn the_canonical_form_is_taken_and_given_back() {
        let id: InstanceId = CANONICAL.parse().unwrap();
        assert_eq!(id.to_string(), CANONICAL);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{CANONICAL}\""));
        assert_eq!(serde_json::from_str::<InstanceId>(&format!("\"{CANONICAL}\"")).unwrap(), id);
    }

    #[test]
    fn every_other_form_is_refused() {
        for text in [
            "",
            "8d80875bfa734ccbbce31cd4df104400",
            "{8d80875b-fa73-4ccb-bce3-1cd4df104400}",
            "urn:uuid:8d80875b-fa73-4ccb-bce3-1cd4df104400",
            "8D80875B-FA73-4CCB-BCE3-1CD4DF104400",
            "8d80875b-fa73-4ccb-bce3-1cd4df10440",
            "8d80875b-fa73-4ccb-bce3-1cd4df104400 ",
            "8d80875b-fa73-4ccb-bce3-1cd4df10440g",
            "8d80875b_fa73_4ccb_bce3_1cd4df104400",
            "../../../../etc/passwd",
        ] {
            assert!(text.parse::<InstanceId>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn an_error_repeats_only_the_beginning_of_a_long_text() {
        let error = "x".repeat(5000).parse::<HostId>().unwrap_err().to_string();
        assert!(error.len() < 150, "{error}");
    }
}
