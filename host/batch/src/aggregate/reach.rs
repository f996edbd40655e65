use unskew::Window;

/// What the windows of an aggregate say of the events that a query may see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// No window of a query at t sees an event before t less this: length and hop of the one that reaches furthest, for a tail is
    /// moved back by less than a hop.
    pub us: i64,
    /// Whether a state has a tile for each time of an event, so that folding them saves nothing.
    pub has_exact_tail: bool,
}

impl Reach {
    /// That of these windows.
    pub fn of(windows: &[Window]) -> Self {
        let reach = |window: &Window| window.length_us.saturating_add(window.hop_us);
        Self {
            us: windows.iter().map(reach).fold(0, i64::max),
            has_exact_tail: windows.iter().any(|window| window.hop_us == 0),
        }
    }

    /// Events before this instant are seen by no query at `t` or later.
    pub fn first_seen(self, t: i64) -> i64 {
        t.saturating_sub(self.us)
    }
}
