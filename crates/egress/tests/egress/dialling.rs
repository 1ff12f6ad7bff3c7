//! What may be dialled: the checks between a name and a socket.

use crate::upstream::{StillClock, Told, Upstream, only, post, still};
use claviger_domain::origin::Origin;
use claviger_egress::{AddressClass, Egress, EgressConfig, EgressError};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::join;

fn told(addresses: Option<Vec<SocketAddr>>, allow_private: BTreeSet<Origin>) -> Egress {
    Egress::with_resolver(EgressConfig { ca_file: None, allow_private }, Arc::new(Told(addresses)), still())
}

async fn outcome(egress: &Egress, origin: &str) -> EgressError {
    let origin = origin.parse().unwrap();
    egress.send(&origin, &only(&origin), post("/", "x")).await.unwrap_err()
}

#[tokio::test]
async fn clear_text_to_a_localhost_that_is_elsewhere_is_refused() {
    let (here, elsewhere) = (Upstream::bind().await, SocketAddr::from(([8, 8, 8, 8], 9)));
    let egress = told(Some(vec![here.address(), elsewhere]), BTreeSet::new());
    let error = outcome(&egress, "http://localhost:9").await;
    assert!(matches!(error, EgressError::AddressRefused { address, .. } if address == elsewhere.ip()), "{error:?}");
    assert!(error.nothing_sent() && here.was_left_alone());
}

#[tokio::test]
async fn a_name_that_points_inside_is_refused_unless_it_was_allowed() {
    let here = Upstream::bind().await;
    let name = format!("https://models.example:{}", here.address().port());
    let egress = told(Some(vec![here.address()]), BTreeSet::new());
    let error = outcome(&egress, &name).await;
    assert!(matches!(error, EgressError::AddressRefused { class: AddressClass::Loopback, .. }), "{error:?}");

    egress.set_allow_private(only(&name.parse().unwrap()));
    let (error, ()) = join!(outcome(&egress, &name), async { drop(here.accept().await) });
    assert!(matches!(error, EgressError::Tls { .. } | EgressError::Trust { .. }), "{error:?}");
}

#[tokio::test]
async fn a_metadata_address_is_refused_even_where_private_ones_are_allowed() {
    for address in ["169.254.169.254:443", "[fd00:ec2::254]:443", "100.100.100.200:443", "[::ffff:169.254.169.254]:443"] {
        let origin: Origin = "https://models.example".parse().unwrap();
        let egress = told(Some(vec![address.parse().unwrap()]), only(&origin));
        let error = outcome(&egress, "https://models.example").await;
        assert!(matches!(error, EgressError::AddressRefused { class: AddressClass::Never, .. }), "{address}: {error:?}");
    }
}

#[tokio::test]
async fn an_address_literal_is_checked_as_a_name_is() {
    let egress = told(None, BTreeSet::new());
    for origin in ["https://169.254.169.254", "https://10.1.2.3", "https://[fe80::1]", "https://[::ffff:10.0.0.1]"] {
        let error = outcome(&egress, origin).await;
        assert!(matches!(error, EgressError::AddressRefused { .. }), "{origin}: {error:?}");
    }
}

#[tokio::test]
async fn a_name_without_addresses_does_not_resolve() {
    let error = outcome(&told(Some(Vec::new()), BTreeSet::new()), "https://models.example").await;
    assert!(matches!(error, EgressError::Resolve { .. }) && error.nothing_sent(), "{error:?}");
}

#[tokio::test]
async fn the_second_family_is_tried_when_the_first_refuses() {
    let upstream = Upstream::bind().await;
    let port = upstream.address().port();
    let closed = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    let egress = told(Some(vec![closed, upstream.address()]), BTreeSet::new());
    let origin: Origin = format!("http://localhost:{port}").parse().unwrap();
    let allowed = only(&origin);
    let (answer, _) = join!(egress.send(&origin, &allowed, post("/", "x")), async { upstream.accept().await.answer("").await });
    answer.unwrap();
}

#[tokio::test]
async fn a_dial_ends_at_the_connect_timeout() {
    let clock = Arc::new(StillClock(Duration::from_secs(10)));
    let egress = Egress::with_resolver(EgressConfig::default(), Arc::new(Told(None)), clock);
    let error = outcome(&egress, "https://models.example").await;
    assert!(matches!(error, EgressError::Timeout { .. }) && error.nothing_sent(), "{error:?}");
    let origin = "https://models.example".parse().unwrap();
    assert!(matches!(egress.connect(&origin, &only(&origin)).await, Err(EgressError::Timeout { .. })));
}
