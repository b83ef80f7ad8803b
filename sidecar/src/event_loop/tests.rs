use std::future::pending;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::mpsc::sync_channel;
use std::task;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;

/// Runs a future on a loop of its own thread, and gives what it came to.
fn run<F: Future<Output = T> + 'static, T: 'static>(make: impl FnOnce(Rc<EventLoop>) -> F) -> Option<T> {
    let result = Rc::new(RefCell::new(None));
    let sink = Rc::clone(&result);
    Prepared::new().unwrap().run(|event_loop| {
        let future = make(event_loop);
        async move {
            let value = future.await;
            *sink.borrow_mut() = Some(value);
        }
    });
    result.take()
}

/// A socket in a loop, and the other end of it.
fn connected(event_loop: &Rc<EventLoop>) -> (Source<TcpStream>, StdStream) {
    let listener = StdListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let other = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let interest = Interest::READABLE | Interest::WRITABLE;
    (Source::new(event_loop, TcpStream::from_std(stream), interest, true).unwrap(), other)
}

async fn read(source: &Source<TcpStream>, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|_| source.poll_read_with(|mut socket| socket.read(buffer))).await
}

async fn write_all(source: &Source<TcpStream>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let written = poll_fn(|_| source.poll_write_with(|mut socket| socket.write(bytes))).await.unwrap();
        bytes = &bytes[written..];
    }
}

#[test]
fn bytes_pass_both_ways_however_slowly_the_other_side_takes_them() {
    const BYTES: usize = 8 << 20;
    let echoed = run(|event_loop| async move {
        let (source, mut other) = connected(&event_loop);
        let peer = std::thread::spawn(move || {
            let mut whole = Vec::new();
            // Far behind at first: the loop has to wait for room.
            std::thread::sleep(Duration::from_millis(50));
            other.read_to_end(&mut whole).unwrap();
            other.write_all(&whole).unwrap();
        });
        let sent: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
        write_all(&source, &sent).await;
        source.io().shutdown(std::net::Shutdown::Write).unwrap();
        let (mut got, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match read(&source, &mut buffer).await.unwrap() {
                0 => break,
                bytes => {
                    if bytes < buffer.len() {
                        source.was_emptied();
                    }
                    got.extend_from_slice(&buffer[..bytes]);
                }
            }
        }
        peer.join().unwrap();
        got == sent
    });
    assert_eq!(echoed, Some(true));
}

#[test]
fn the_end_is_read_behind_the_last_bytes_that_did_not_fill_the_buffer() {
    let read = run(|event_loop| async move {
        let (source, mut other) = connected(&event_loop);
        let mut buffer = [0; 64];
        let nothing = event_loop.timeout(Duration::from_millis(10), read(&source, &mut buffer)).await;
        assert!(nothing.is_err() && !source.may_be_readable());
        other.write_all(b"last").unwrap();
        drop(other);
        let bytes = read(&source, &mut buffer).await.unwrap();
        source.was_emptied();
        (bytes, read(&source, &mut buffer).await.unwrap())
    });
    assert_eq!(read, Some((4, 0)));
}

#[test]
fn a_dropped_socket_leaves_the_loop_and_its_peer_sees_the_end() {
    run(|event_loop| async move {
        let (source, mut other) = connected(&event_loop);
        assert_eq!(event_loop.sources.borrow().len(), 1);
        drop(source);
        assert!(event_loop.sources.borrow().is_empty());
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn another_thread_wakes_a_task_that_waits_for_nothing_else() {
    let (send, receive) = oneshot::channel();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        send.send(7).unwrap();
    });
    assert_eq!(run(|_| async move { receive.await.unwrap() }), Some(7));
    other.join().unwrap();
}

#[test]
fn timers_end_in_their_order_and_leave_nothing_behind() {
    let order = run(|event_loop| async move {
        let order = Rc::new(RefCell::new(Vec::new()));
        for millis in [30, 10, 20] {
            let (ended, sleep) = (Rc::clone(&order), event_loop.sleep(Duration::from_millis(millis)));
            event_loop.spawn(async move {
                sleep.await;
                ended.borrow_mut().push(millis);
            });
        }
        let began = Instant::now();
        assert!(event_loop.timeout(Duration::from_millis(60), pending::<()>()).await.is_err());
        assert!(began.elapsed() >= Duration::from_millis(60));
        assert_eq!(event_loop.timeout(Duration::ZERO, async { 5 }).await.ok(), Some(5), "it is asked once");
        assert_eq!(event_loop.timeout(Duration::MAX, async { 6 }).await.ok(), Some(6));
        assert_eq!(event_loop.timers.until_next(), None);
        order.take()
    });
    assert_eq!(order, Some(vec![10, 20, 30]));
}

#[test]
fn a_panic_ends_its_task_alone_and_drops_what_it_held() {
    let (send, receive) = oneshot::channel::<()>();
    let went_on = run(|event_loop| async move {
        event_loop.spawn(async move {
            let _held = send;
            panic!("on purpose");
        });
        assert!(receive.await.is_err(), "what it held is gone");
        event_loop.sleep(Duration::from_millis(1)).await;
        true
    });
    assert_eq!(went_on, Some(true));
    assert_eq!(run(|_| async { panic!("on purpose") }), None::<()>, "a loop whose own future panics ends");
}

#[test]
fn tasks_take_turns_and_are_polled_again_when_they_wake_themselves() {
    let seen = run(|event_loop| async move {
        let seen = Rc::new(RefCell::new(Vec::new()));
        for name in ["a", "b"] {
            let (mine, turns) = (Rc::clone(&seen), Rc::clone(&event_loop));
            event_loop.spawn(async move {
                for _ in 0..3 {
                    mine.borrow_mut().push(name);
                    turns.others_turn().await;
                }
            });
        }
        let mut polls = 0;
        poll_fn(|context| {
            polls += 1;
            context.waker().wake_by_ref();
            context.waker().wake_by_ref();
            if polls == 10 { task::Poll::Ready(()) } else { task::Poll::Pending }
        })
        .await;
        seen.take()
    });
    assert_eq!(seen, Some(vec!["a", "b", "a", "b", "a", "b"]));
}

#[test]
fn what_is_left_when_the_loop_ends_is_dropped_and_so_are_others_on_request() {
    let (first, first_gone) = sync_channel::<()>(1);
    let (second, second_gone) = sync_channel::<()>(1);
    run(|event_loop| async move {
        event_loop.spawn(async move {
            let _held = first;
            pending::<()>().await;
        });
        event_loop.others_turn().await;
        event_loop.drop_others();
        assert!(first_gone.recv().is_err());
        event_loop.spawn(async move {
            let _held = second;
            pending::<()>().await;
        });
    })
    .unwrap();
    assert!(second_gone.recv().is_err());
}

#[test]
fn a_thousand_tasks_that_are_woken_at_once_all_end() {
    let ended = run(|event_loop| async move {
        let (go, all) = (Rc::new(tokio::sync::Notify::new()), Rc::new(Cell::new(0)));
        for _ in 0..1000 {
            let (go, all) = (Rc::clone(&go), Rc::clone(&all));
            event_loop.spawn(async move {
                go.notified().await;
                all.set(all.get() + 1);
            });
        }
        event_loop.others_turn().await;
        go.notify_waiters();
        while all.get() < 1000 {
            event_loop.others_turn().await;
        }
        all.get()
    });
    assert_eq!(ended, Some(1000));
}
