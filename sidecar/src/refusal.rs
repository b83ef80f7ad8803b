//! Callers whom no server answers: what they ask for is read, and then they are reset, as the kernel would.
//!
//! A request that reached nobody is what availability is about. So it is an exchange like any other, which ended with an
//! error of the model's server, and the paths that are captured decide as ever whether it is one: a probe is none.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::event_loop::EventLoop;
use crate::pump::SCRATCH;
use crate::stream::Stream;
use crate::tap::{Over, Side, Tap};

/// A caller has its request under way when it is connected. One that has said nothing whole by then waits to be spoken to,
/// as gRPC does, or is a probe of the port.
const PATIENCE: Duration = Duration::from_millis(100);

/// Reads a caller's first requests, and resets the connection.
///
/// # Cancel safety
/// Dropping the future resets the connection; what it had asked for is then recorded as cancelled.
pub(crate) async fn refuse(event_loop: Rc<EventLoop>, mut caller: Stream, mut tap: Tap) {
    caller.reset_on_close();
    // The time that is over says no more than a caller that has ended: whatever was asked was asked of nobody.
    drop(event_loop.timeout(PATIENCE, listen(&mut caller, &mut tap)).await);
    tap.connection_over(Over::Reset(Side::Upstream));
}

/// Reads until the caller has asked for something and said all of it, or has ended.
async fn listen(caller: &mut Stream, tap: &mut Tap) {
    while !tap.awaits_answer() {
        let chunk = poll_fn(|context| {
            SCRATCH.with_borrow_mut(|scratch| match caller.poll_read(context, scratch) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    tap.bytes(Side::Client, &scratch[..bytes]);
                    Poll::Ready(true)
                }
                Poll::Ready(_) => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            })
        });
        if !chunk.await {
            return;
        }
    }
}
