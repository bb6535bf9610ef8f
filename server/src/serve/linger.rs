//! A body that is read on for a while when nobody wants the rest of it.
//!
//! A client that is refused while it still sends would get a broken connection in place of the answer: what a socket has
//! not read when it is closed makes the system reset the connection.

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Bytes that are read on: those of the largest body that could have been meant well, about.
const MAX_LINGER_BYTES: usize = 64 << 20;
/// Time for them.
const MAX_LINGER: Duration = Duration::from_secs(5);

/// The body of a request, the rest of which is read and forgotten when this is dropped, within limits.
pub(super) struct LingeringBody {
    /// `None` when it has ended.
    inner: Option<Incoming>,
    /// Whether the client sends nothing before it is asked to: then there is nothing to be read.
    is_awaited: bool,
}

impl LingeringBody {
    pub(super) fn new(inner: Incoming, is_awaited: bool) -> LingeringBody {
        LingeringBody { inner: Some(inner), is_awaited }
    }
}

impl Body for LingeringBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let polled = Pin::new(inner).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.inner = None;
        } else {
            // Now it was asked for.
            self.is_awaited = false;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for LingeringBody {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take().filter(|inner| !inner.is_end_stream()) else { return };
        // Without a runtime the server has ended.
        if let (Ok(runtime), false) = (Handle::try_current(), self.is_awaited) {
            runtime.spawn(timeout(MAX_LINGER, read_on(inner)));
        }
    }
}

async fn read_on(mut body: Incoming) {
    let mut left = MAX_LINGER_BYTES;
    while let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}
