//! On or off, as every wire here writes it.

use serde::{Deserialize, Serialize};

/// A switch in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// `enabled`
    Enabled,
    /// `disabled`
    Disabled,
}

impl From<bool> for Switch {
    fn from(on: bool) -> Self {
        if on { Self::Enabled } else { Self::Disabled }
    }
}

impl From<Switch> for bool {
    fn from(switch: Switch) -> Self {
        switch == Switch::Enabled
    }
}
