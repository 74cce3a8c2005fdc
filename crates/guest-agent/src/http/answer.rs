//! What is answered, as a response.

use bytes::Bytes;
use heartbeat_proto::vim::command::{Answer, Reason};
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::inventory::{Outcome, Refusal};

use super::route::Miss;

/// A response: always whole, so that hyper says its length.
pub(super) type HttpAnswer = Response<Full<Bytes>>;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such path, or the path has no such method.
    Miss(Miss),
    /// It says that it is from somebody else than the VIM.
    Stranger,
    /// It has no body and needs one.
    NoBody,
    /// Its body is too long.
    TooLong,
    /// Its body does not come.
    TooSlow,
    /// Its body breaks off, or is not framed as it says.
    Broken,
    /// The main loop does not answer.
    NoAnswer,
    /// It makes no sense, or the inventory refuses it.
    Refused(Reason),
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl Failure {
    const fn status(self) -> StatusCode {
        match self {
            Self::Miss(Miss::Path) | Self::Refused(Reason::NotFound) => StatusCode::NOT_FOUND,
            Self::Miss(Miss::Method(_)) | Self::Refused(Reason::Unsupported) => {
                StatusCode::METHOD_NOT_ALLOWED
            }
            Self::Stranger => StatusCode::FORBIDDEN,
            Self::NoBody => StatusCode::LENGTH_REQUIRED,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NoAnswer | Self::Refused(Reason::NoBuffer) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken
            | Self::Refused(Reason::Parse | Reason::InvalidData | Reason::BadState) => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    const fn reason(self) -> Reason {
        match self {
            Self::Miss(Miss::Path) => Reason::NotFound,
            Self::Miss(Miss::Method(_)) => Reason::Unsupported,
            Self::Stranger => Reason::InvalidData,
            // What the C++ agent says when there is no body.
            Self::NoBody | Self::TooLong | Self::NoAnswer => Reason::NoBuffer,
            Self::TooSlow | Self::Broken => Reason::Parse,
            Self::Refused(reason) => reason,
        }
    }

    /// The response.
    pub(super) fn response(self) -> HttpAnswer {
        #[derive(Serialize)]
        struct Fail {
            status: &'static str,
            reason: &'static str,
        }
        let body = Fail { status: "fail", reason: self.reason().as_str() };
        let mut response = json(self.status(), &body);
        if let Self::Miss(Miss::Method(allowed)) = self {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        match self {
            // The rest of the body is not read, so nothing can follow it.
            Self::TooLong | Self::TooSlow | Self::Broken => closing(response),
            Self::Miss(_) | Self::Stranger | Self::NoBody | Self::NoAnswer | Self::Refused(_) => {
                response
            }
        }
    }
}

/// The same response, and the connection ends with it.
pub(super) fn closing(mut response: HttpAnswer) -> HttpAnswer {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The response to a command that the main loop had.
pub(super) fn of_command(result: Result<Outcome, Refusal>) -> HttpAnswer {
    match result {
        Ok(Outcome::Answer(answer)) => json::<Answer>(StatusCode::OK, &answer),
        Ok(Outcome::NoContent) => {
            let mut response = HttpAnswer::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(Refusal(reason)) => Failure::Refused(reason).response(),
    }
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> HttpAnswer {
    // Only a map with odd keys cannot be written, and there is none.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
