//! `NAME=VALUE` for a setting of the core's configuration, for experiments.

use std::str::FromStr;
use std::time::Duration;

use tnet_swarm::Config;

/// One change to a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    name: String,
    value: String,
}

/// Why a setting is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no `=`.
    #[error("expected NAME=VALUE")]
    NoValue,
    /// No setting has this name.
    #[error("no setting is called {name}; there are {}", NAMES.join(", "))]
    Unknown {
        /// What was given.
        name: String,
    },
    /// The value is not valid for this name.
    #[error("{name} takes {expected}, not {value}")]
    BadValue {
        /// Which setting.
        name: String,
        /// What it takes.
        expected: &'static str,
        /// What was given.
        value: String,
    },
}

/// Everything that can be set. Durations are in milliseconds.
const NAMES: &[&str] = &[
    "upload_slots.bytes",
    "upload_slots.min",
    "upload_slots.max",
    "slot_turnover_time",
    "slow_uplink_per_mille",
    "download_slots.bytes",
    "download_slots.min",
    "download_slots.max",
    "slots.bytes",
    "slots.min",
    "slots.max",
    "extra_offer_slots_per_mille",
    "offer_pause",
    "requests_per_source",
    "storing_bytes",
    "have_delay",
    "have_batch_divisor",
    "reservation",
    "busy_retry_after",
    "progress_window",
    "stalls_to_drop",
    "progress_floor",
    "hedge_after",
    "hedge_per_mille",
    "late_after",
    "strikes_to_ban",
    "refusals_to_cut",
    "ban",
    "open_timeout",
    "unused_offers_limit",
    "neighbours",
    "max_peers",
    "max_addresses",
    "max_links_per_peer",
    "reconnect_after",
    "reconnect_at_most",
    "lookup_after",
    "lookup_at_most",
    "exchange_every",
];

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Setting, SettingError> {
        let (name, value) = text.split_once('=').ok_or(SettingError::NoValue)?;
        let setting = Setting { name: name.trim().to_owned(), value: value.trim().to_owned() };
        setting.apply(&mut Config::default())?;
        Ok(setting)
    }
}

impl Setting {
    /// Changes the configuration.
    ///
    /// # Errors
    /// Nothing is called so, or takes such a value. Settings that were parsed are right.
    pub fn apply(&self, config: &mut Config) -> Result<(), SettingError> {
        match self.name.as_str() {
            "upload_slots.bytes" => config.upload_slots.bytes = self.number()?,
            "upload_slots.min" => config.upload_slots.min = self.number()?,
            "upload_slots.max" => config.upload_slots.max = self.number()?,
            "slot_turnover_time" => config.slot_turnover_time = self.duration()?,
            "slow_uplink_per_mille" => config.slow_uplink_per_mille = self.number()?,
            "download_slots.bytes" => config.download_slots.bytes = self.number()?,
            "download_slots.min" => config.download_slots.min = self.number()?,
            "download_slots.max" => config.download_slots.max = self.number()?,
            "slots.bytes" => {
                config.upload_slots.bytes = self.number()?;
                config.download_slots.bytes = self.number()?;
            }
            "slots.min" => {
                config.upload_slots.min = self.number()?;
                config.download_slots.min = self.number()?;
            }
            "slots.max" => {
                config.upload_slots.max = self.number()?;
                config.download_slots.max = self.number()?;
            }
            "extra_offer_slots_per_mille" => config.extra_offer_slots_per_mille = self.number()?,
            "offer_pause" => config.offer_pause = self.duration()?,
            "requests_per_source" => config.requests_per_source = self.number()?,
            "storing_bytes" => config.storing_bytes = self.number()?,
            "have_delay" => config.have_delay = self.duration()?,
            "have_batch_divisor" => config.have_batch_divisor = self.number()?,
            "reservation" => config.reservation = self.duration()?,
            "busy_retry_after" => config.busy_retry_after = self.duration()?,
            "progress_window" => config.progress_window = self.duration()?,
            "stalls_to_drop" => config.stalls_to_drop = self.number()?,
            "progress_floor" => config.progress_floor = self.number()?,
            "hedge_after" => config.hedge_after = self.duration()?,
            "hedge_per_mille" => config.hedge_per_mille = self.number()?,
            "late_after" => config.late_after = self.duration()?,
            "strikes_to_ban" => config.strikes_to_ban = self.number()?,
            "refusals_to_cut" => config.refusals_to_cut = self.number()?,
            "ban" => config.ban = self.duration()?,
            "open_timeout" => config.open_timeout = self.duration()?,
            "unused_offers_limit" => config.unused_offers_limit = self.number()?,
            "neighbours" => config.neighbours = self.number()?,
            "max_peers" => config.max_peers = self.number()?,
            "max_addresses" => config.max_addresses = self.number()?,
            "max_links_per_peer" => config.max_links_per_peer = self.number()?,
            "reconnect_after" => config.reconnect_after = self.duration()?,
            "reconnect_at_most" => config.reconnect_at_most = self.duration()?,
            "lookup_after" => config.lookup_after = self.duration()?,
            "lookup_at_most" => config.lookup_at_most = self.duration()?,
            "exchange_every" => config.exchange_every = self.duration()?,
            _ => return Err(SettingError::Unknown { name: self.name.clone() }),
        }
        Ok(())
    }

    fn number<T: FromStr>(&self) -> Result<T, SettingError> {
        self.value.parse().map_err(|_| self.bad_value("a whole number"))
    }

    fn duration(&self) -> Result<Duration, SettingError> {
        let milliseconds: f64 = self.value.parse().map_err(|_| self.bad_value("milliseconds"))?;
        Duration::try_from_secs_f64(milliseconds / 1000.0)
            .map_err(|_| self.bad_value("milliseconds"))
    }

    fn bad_value(&self, expected: &'static str) -> SettingError {
        SettingError::BadValue { name: self.name.clone(), expected, value: self.value.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_listed_can_be_set() {
        for name in NAMES {
            let setting: Setting = format!("{name}=77").parse().expect("a name and a number");
            let mut config = Config::default();
            let before = format!("{config:?}");
            setting.apply(&mut config).expect("it was parsed");
            assert_ne!(format!("{config:?}"), before, "{name} changes nothing");
        }
    }

    #[test]
    fn milliseconds_may_be_broken() {
        let mut config = Config::default();
        let setting: Setting = "have_delay=0.5".parse().expect("half a millisecond");
        setting.apply(&mut config).expect("it was parsed");
        assert_eq!(config.have_delay, Duration::from_micros(500));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_reason() {
        let parse = |text: &str| text.parse::<Setting>().expect_err(text);
        assert_eq!(parse("neighbours"), SettingError::NoValue);
        assert!(matches!(parse("neighbors=1"), SettingError::Unknown { .. }));
        assert!(matches!(parse("neighbours=-1"), SettingError::BadValue { .. }));
        assert!(matches!(parse("have_delay=-1"), SettingError::BadValue { .. }));
    }
}
