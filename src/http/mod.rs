//! HTTP between machines: a server whose connections are bounded in number, size and time, and a sender whose queue is.
//!
//! Limits: knows nothing of processes and profiles; prints nothing.

mod request;
mod response;
mod server;
mod upload;

pub(crate) use request::Request;
pub(crate) use response::Response;
pub(crate) use server::{Connection, Server};
pub(crate) use upload::{Destination, UploadCounts, Uploader, certificates};
