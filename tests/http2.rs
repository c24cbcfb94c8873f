//! HTTP/2 of clients: the same requests and answers as over HTTP/1.1, on streams.

mod drain;
mod floods;
mod messages;
mod programs;
mod protocol;
mod windows;

use crate::harness::*;

const ME: &str = "/api/v1/users/me";
const LOGIN: &str = "/api/v1/auth/login";

fn before(origin: &Origin) -> Gateway {
    builder(origin).start()
}

fn builder(origin: &Origin) -> Builder {
    Gateway::builder().everywhere(origin).env("H2C", "on")
}

fn connect(gateway: &Gateway) -> h2::H2Client {
    h2::H2Client::connect(gateway.public)
}
