//! How to use the host well.
//!
//! # One host a process, one session a thread
//! A [`Host`](crate::Host) is cheap to clone; a [`Session`](crate::Session) has the instances and the buffers of one thread.
//! Make sessions when threads start: they take their instances then, and none is made by a request.
//!
//! ```no_run
//! use std::cell::RefCell;
//! use std::sync::OnceLock;
//! use unskew::{Host, HostOptions, Session};
//!
//! static HOST: OnceLock<Host> = OnceLock::new();
//! thread_local! {
//!     static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
//! }
//!
//! fn with_session<T>(work: impl FnOnce(&mut Session) -> T) -> Option<T> {
//!     let host = HOST.get()?;
//!     SESSION.with_borrow_mut(|session| Some(work(session.get_or_insert_with(|| host.session()))))
//! }
//!
//! HOST.get_or_init(|| Host::open("store", HostOptions::default()).expect("a store"));
//! ```
//!
//! In an asynchronous server, evaluate where the request is handled: it waits for nothing and takes microseconds, less than
//! handing it to another thread.
//!
//! # Fill requests from structs
//! [`Fields`](macro@crate::Fields) makes a struct the fields of a request. Names and types are compared with the service once;
//! filling is then a copy by position, and a field that the service does not have cannot be misspelt at night.
//!
//! ```no_run
//! use unskew::{EventTime, Fields, Host, HostOptions};
//!
//! #[derive(Fields)]
//! struct Bid<'a> {
//!     user_segment: Option<&'a str>,
//! }
//!
//! #[derive(Fields)]
//! struct Item {
//!     item_id: i64,
//!     position: Option<i64>,
//! }
//!
//! let host = Host::open("store", HostOptions::default())?;
//! let ranker = host.service("ranker").ok_or("no ranker")?;
//! let mut session = host.session();
//! let mut request = ranker.request_of::<Bid<'_>, Item>(EventTime(0))?;
//! let mut matrix = Vec::new();
//! // For each bid:
//! request.reset(EventTime(1_575_072_000_000_000));
//! request.set(&Bid { user_segment: Some("sports") });
//! request.push(&Item { item_id: 3, position: Some(1) });
//! session.evaluate(&request)?.write_f32(f32::NAN, &mut matrix);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Callers that know fields only at run time resolve [`Service::request_field`](crate::Service::request_field) once and use
//! [`Request::set_at`](crate::Request::set_at).
//!
//! # When the fields of a service change
//! A request that was made for a service outlives generations while the fields stay the same. When they change,
//! [`EvaluateError::ServiceChanged`](crate::EvaluateError::ServiceChanged) says so: ask the host for the service again, and make
//! a new request. Publish a field that callers do not fill yet as nullable, deploy the callers, and then make it required.
//!
//! # Fallbacks are for failures, imputation is for data
//! What a missing value means to the model belongs into the transform, where training sees it too. A service's `fallbacks` are
//! what the model reads when a transform *fails*: training never sees them, so choose a value that does little harm, such as
//! the mean.
//!
//! ```toml
//! [[service]]
//! name = "ranker"
//! features = ["item_ctr:ctr_7d", "cost:micros_per_click"]
//! fallbacks = { "item_ctr:ctr_7d" = 0.02, "cost:micros_per_click" = 500000 }
//! ```
//!
//! # Decide what old data is worth
//! A view says how old its snapshot may be when it is served, relative to the request's prediction time.
//!
//! ```toml
//! [[view]]
//! name = "item_ctr"
//! max_age = "2d"
//! when_stale = "missing"   # or "serve" (the default), or "fail"
//! ```
//!
//! `serve` for what changes slowly, `missing` for what misleads when it is old and which the model can do without, `fail` for
//! what no answer is better than. With `fail`, [`Host::ready`](crate::Host::ready) takes the host out of a load balancer, too.
//!
//! # Roll out, roll back
//! Publish; hosts that follow the store serve the new generation within moments. Where it turns out wrong, on one host:
//! [`Host::rollback`](crate::Host::rollback), which takes less than a millisecond and holds until
//! [`Host::unpin`](crate::Host::unpin). On all of them: write the number of the generation before into the store's `current`,
//! or [`Host::revoke`](crate::Host::revoke) the bad one wherever it may have gone.
