//! Objects of S3 and what speaks its protocol, of Google Cloud Storage, Azure Blob Storage and web servers, as sources, spines
//! and outputs of `unskew-batch`.
//!
//! [`CloudObjects`] is told everything by variables of the environment, as each provider's own tools are.
//!
//! ```
//! use std::sync::Arc;
//! use unskew_batch::Storage;
//! use unskew_objects::CloudObjects;
//!
//! // Nothing is asked before a URL is read.
//! let storage = Storage::with_objects(Arc::new(CloudObjects::from_environment()));
//! # assert_ne!(storage, Storage::default());
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cloud;
mod failure;
mod http;
mod ranges;
mod upload;

pub use cloud::CloudObjects;
