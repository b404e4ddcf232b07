use std::sync::Mutex;

use super::*;
use crate::model::settings::{Dns, Server};

fn upstream(host: &str) -> Upstream {
    let server = Server { authority: format!("{host}:80").into(), host: host.into(), port: 80, weight: 1 };
    let dns = Dns { refresh: Duration::from_secs(10), ..Dns::default() };
    Upstream { dns, ..Upstream::plain("test".into(), vec![server]) }
}

fn labels(pools: &Pools) -> Vec<String> {
    let Some(pool) = pools.all().get("test").cloned() else { return Vec::new() };
    let mut labels: Vec<String> = pool.members().iter().map(|(member, ..)| member.label().to_string()).collect();
    labels.sort();
    labels
}

/// What the name server says at the moment.
type Zone = Arc<Mutex<HashMap<String, io::Result<Vec<SocketAddr>>>>>;

fn says(zone: &Zone, host: &str, answer: io::Result<Vec<&str>>) {
    let answer = answer.map(|all| all.into_iter().map(|address| address.parse().unwrap()).collect());
    zone.lock().unwrap().insert(host.to_owned(), answer);
}

async fn follow(pools: &Pools, zone: &Zone) {
    let asked = Arc::clone(zone);
    let lookup = move |host: String, _| {
        let answer = match asked.lock().unwrap().get(&host) {
            Some(Ok(addresses)) => Ok(addresses.clone()),
            Some(Err(_)) | None => Err(io::Error::other("no such name")),
        };
        async move { answer }
    };
    keep_resolved_by(pools, || Duration::from_secs(86_400), lookup).await;
}

/// Lets the paused clock run.
async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn script(pools: &Pools, zone: &Zone) {
    after(1).await;
    assert_eq!(labels(pools), ["10.0.0.1:80"]);

    says(zone, "api", Ok(vec!["10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"]));
    after(11).await;
    assert_eq!(labels(pools), ["10.0.0.1:80", "10.0.0.2:80"]);

    says(zone, "api", Err(io::Error::other("the name server is gone")));
    after(30).await;
    assert_eq!(labels(pools), ["10.0.0.1:80", "10.0.0.2:80"], "the last good answer");

    says(zone, "api", Ok(vec![]));
    after(30).await;
    assert_eq!(labels(pools), ["10.0.0.1:80", "10.0.0.2:80"], "an empty answer is none");

    says(zone, "api", Ok(vec!["10.0.0.3:80"]));
    after(11).await;
    assert_eq!(labels(pools), ["10.0.0.3:80"]);

    // Another name in a new configuration is looked up at once, not when the old one is due.
    says(zone, "other", Ok(vec!["10.0.0.9:80"]));
    pools.follow(&[upstream("other")], Duration::from_secs(86_400));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(labels(pools), ["10.0.0.9:80"]);

    // A name that does not exist yet is asked for every two seconds.
    pools.follow(&[upstream("late")], Duration::from_secs(86_400));
    after(1).await;
    assert_eq!(labels(pools), Vec::<String>::new());
    says(zone, "late", Ok(vec!["10.0.0.4:80"]));
    after(3).await;
    assert_eq!(labels(pools), ["10.0.0.4:80"]);
}

#[test]
fn a_name_is_followed_and_its_last_good_addresses_are_kept() {
    let pools = Pools::default();
    let zone = Zone::default();
    says(&zone, "api", Ok(vec!["10.0.0.1:80"]));
    pools.follow(&[upstream("api")], Duration::from_secs(86_400));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            () = follow(&pools, &zone) => unreachable!(),
            () = script(&pools, &zone) => {}
        }
    });
}
