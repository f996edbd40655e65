//! Programs that embed the host. Each makes a small store of its own first, which takes some seconds.
//!
//! ```sh
//! cargo run -p unskew-examples -- minimal     # open, fill a request, read the matrix
//! cargo run -p unskew-examples -- hot-swap    # generations change under load; roll back
//! cargo run -p unskew-examples -- fallback    # a transform that fails
//! cargo run -p unskew-examples -- store DIR   # only make the store
//! ```

pub mod fallback;
pub mod hot_swap;
pub mod minimal;
pub mod shop;
