use std::fs::File;
use std::io;
use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};

/// Has a file's bytes on their way to the disk while more of them are made, so that there is little to wait for at its end.
pub(crate) struct Flush {
    file: File,
    begun_bytes: u64,
    running: Option<JoinHandle<io::Result<()>>>,
}

/// The fewest bytes that are worth a thread.
const STEP_BYTES: u64 = 16 << 20;

impl Flush {
    pub fn new(file: File) -> Self {
        Self {
            file,
            begun_bytes: 0,
            running: None,
        }
    }

    /// Begins with what was written so far, which is `bytes`, unless that is little or an earlier part is still under way.
    ///
    /// # Errors
    /// The disk did not take an earlier part: whoever syncs the file later may not be told of it again.
    pub fn up_to(&mut self, bytes: u64) -> io::Result<()> {
        let is_running = self.running.as_ref().is_some_and(|running| !running.is_finished());
        if is_running || bytes < self.begun_bytes + STEP_BYTES {
            return Ok(());
        }
        self.finish()?;
        let file = self.file.try_clone()?;
        self.begun_bytes = bytes;
        self.running = Some(thread::Builder::new().spawn(move || file.sync_data())?);
        Ok(())
    }

    /// Waits for the part that is under way.
    pub fn finish(&mut self) -> io::Result<()> {
        let running = self.running.take();
        running.map_or(Ok(()), |running| {
            running.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        // The file is given up.
        drop(self.finish());
    }
}
