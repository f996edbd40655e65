/// What all benches of the snapshot take.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Arguments {
    /// A million rows of 64 bytes only: under a minute once built.
    #[arg(long)]
    pub quick: bool,
    /// One JSON object a line on standard output, the table on standard error.
    #[arg(long)]
    pub json: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Arguments {
    /// How often each measure is taken.
    pub fn rounds(&self) -> usize {
        if self.quick { 7 } else { 9 }
    }

    /// How many lookups a measure makes in a round.
    pub fn lookups(&self) -> usize {
        if self.quick { 250_000 } else { 1_000_000 }
    }
}
