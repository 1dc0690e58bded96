//! Receivers in trouble, and what they cost the others.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::super::breaker::{BreakerSettings, Cause, State};
use super::super::client::tests::{Fixed, Receiver, guard_settings};
use super::super::destinations::NoPass;
use super::super::failure::Stage;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const TROUBLE: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

fn outbound(destinations: DestinationSettings) -> Outbound {
    // Any authority will do: these tests speak in the clear.
    let key = rcgen::KeyPair::generate().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    std::fs::write(file.path(), certificate.pem()).unwrap();
    let trust = TrustSettings { is_system_trusted: false, ca_file: Some(file.path().to_owned()) };
    let settings = OutboundSettings { guard: guard_settings(), destinations, trust };
    let names = Fixed { addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], asked: Arc::default() };
    Outbound::with_names(settings, Box::new(names)).unwrap()
}

fn post(receiver: &Receiver) -> Call {
    let mut call = Call::post_json(&receiver.url(), "{}".into());
    // What is not tested to be late may take its time on a busy machine.
    let long = Duration::from_secs(60);
    call.deadlines.connect = long;
    call.deadlines.headers = long;
    call.deadlines.total = long;
    call
}

#[tokio::test]
async fn a_receiver_in_trouble_is_left_alone_until_it_is_reset() {
    let breaker = BreakerSettings {
        open_base: Duration::from_secs(3_600),
        open_cap: Duration::from_secs(3_600),
        ..BreakerSettings::default()
    };
    let outbound = outbound(DestinationSettings { breaker, ..DestinationSettings::default() });
    let (bad, good, lost) =
        (Receiver::saying(TROUBLE).await, Receiver::saying(OK).await, Receiver::saying(NOT_FOUND).await);
    let mut events = outbound.destinations().subscribe();
    for _ in 0..5 {
        assert_eq!(outbound.call(&post(&bad)).await.unwrap().status, 500);
    }
    let refused = outbound.call(&post(&bad)).await.unwrap_err();
    let CallError::NoPass(NoPass::Open(Some(retry_in))) = refused.error else { panic!("{refused:?}") };
    assert!(retry_in > Duration::from_secs(3_000) && refused.error.is_worth_retry());
    assert_eq!(bad.taken(), 1, "all five went over one connection, and the sixth nowhere");
    assert_eq!(events.try_recv().unwrap().change.cause, Cause::ConsecutiveFailures);
    assert_eq!(outbound.call(&post(&good)).await.unwrap().status, 200);
    for _ in 0..8 {
        assert_eq!(outbound.call(&post(&lost)).await.unwrap().status, 404, "whoever says no is well");
    }
    let target = outbound.guard().check_url(&bad.url()).unwrap();
    let open: Vec<_> =
        outbound.destinations().standings().into_iter().filter(|one| one.state != State::Closed).collect();
    assert_eq!((open.len(), &open[0].destination), (1, &target.destination));
    outbound.destinations().reset(&target.destination).unwrap();
    assert_eq!(outbound.call(&post(&bad)).await.unwrap().status, 500);
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_only_its_own_callers() {
    let settings = DestinationSettings { concurrent_max: 2, waiting_max: 0, ..DestinationSettings::default() };
    let outbound = Arc::new(outbound(settings));
    let hanging = Receiver::start(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let good = Receiver::saying(OK).await;
    let held: Vec<_> = (0..2)
        .map(|_| {
            let (outbound, call) = (Arc::clone(&outbound), post(&hanging));
            tokio::spawn(async move { outbound.call(&call).await })
        })
        .collect();
    while hanging.taken() < 2 {
        tokio::task::yield_now().await;
    }
    let refused = outbound.call(&post(&hanging)).await.unwrap_err();
    assert_eq!(refused.error, CallError::NoPass(NoPass::QueueFull));
    for _ in 0..20 {
        assert_eq!(outbound.call(&post(&good)).await.unwrap().status, 200);
    }
    // Whoever is cancelled frees what it held.
    for task in held {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let mut call = post(&hanging);
    call.deadlines.headers = Duration::from_millis(300);
    let failure = outbound.call(&call).await.unwrap_err();
    assert_eq!(failure.error, CallError::TimedOut(Stage::Headers));
    let standing = &outbound.destinations().standings();
    assert!(standing.iter().all(|one| one.running == 0 && one.waiting == 0), "{standing:?}");
}

#[tokio::test]
async fn what_we_refuse_says_nothing_about_a_destination() {
    let outbound = outbound(DestinationSettings::default());
    for _ in 0..6 {
        let call = Call::post_json("https://169.254.169.254/", "{}".into());
        assert_eq!(outbound.call(&call).await.unwrap_err().error.kind(), "refused");
    }
    assert!(outbound.destinations().standings().is_empty());
    for _ in 0..5 {
        let call = Call::post_json("https://nobody.example/", "{}".into());
        assert_eq!(outbound.call(&call).await.unwrap_err().error.kind(), "resolve");
    }
    let call = Call::post_json("https://nobody.example/", "{}".into());
    assert_eq!(outbound.call(&call).await.unwrap_err().error.kind(), "breaker_open");
    let reading = outbound.names();
    assert_eq!((reading.misses, reading.hits), (1, 4), "and its name is asked for once");
}
