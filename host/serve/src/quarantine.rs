use serde::{Deserialize, Serialize};

/// How long a generation is not served after it was left for the first time, and at most.
const FIRST_SECONDS: u64 = 30;
const MAX_SECONDS: u64 = 3_600;

/// A generation that was left because its calls fail, and is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quarantine {
    /// How often it was left.
    strikes: u32,
    seconds_left: u64,
}

impl Quarantine {
    /// Begins, for twice as long as the time before, and says for how many seconds.
    pub fn strike(&mut self) -> u64 {
        let doublings = self.strikes.min(MAX_SECONDS.ilog2());
        self.strikes = self.strikes.saturating_add(1);
        self.seconds_left = (FIRST_SECONDS << doublings).min(MAX_SECONDS);
        self.seconds_left
    }

    pub fn pass_second(&mut self) {
        self.seconds_left = self.seconds_left.saturating_sub(1);
    }

    pub fn is_active(self) -> bool {
        self.seconds_left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strike_doubles_the_time_up_to_an_hour() {
        let mut quarantine = Quarantine::default();
        assert!(!quarantine.is_active());
        let times: Vec<u64> = (0..100).map(|_| quarantine.strike()).collect();
        assert_eq!(times[..9], [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert!(times[9..].iter().all(|seconds| *seconds == MAX_SECONDS));
    }

    #[test]
    fn it_ends_after_its_seconds() {
        let mut quarantine = Quarantine::default();
        for _ in 1..quarantine.strike() {
            quarantine.pass_second();
            assert!(quarantine.is_active());
        }
        quarantine.pass_second();
        assert!(!quarantine.is_active());
        quarantine.pass_second();
        assert!(!quarantine.is_active());
    }
}
