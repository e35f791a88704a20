//! What is read from the environment, each in a process of its own that has such a one.

use std::env;
use std::process::Command;

use super::*;

const IS_CHILD: &str = "TIDINGS_TEST_IS_CHILD";

/// Does it in a process that has these variables, which is this test once more.
fn check(test: &str, variables: &[(&str, &str)], body: impl Future<Output = ()>) {
    if env::var_os(IS_CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        return runtime.unwrap().block_on(body);
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("environment::{test}")])
        .env(IS_CHILD, "")
        .envs(variables.iter().copied())
        .output();
    let child = child.unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
fn the_environment_names_proxies() {
    let variables = [
        ("http_proxy", "http://user:secret@127.0.0.1:1"),
        ("https_proxy", "https://127.0.0.1:1"),
        ("no_proxy", "localhost"),
    ];
    check("the_environment_names_proxies", &variables, async {
        let transport = DirectTransport::new();
        let error = open(&transport, "http://a.test/?secret").await.unwrap_err();
        check_failed(&error, "the proxy could not be reached");
        #[cfg(feature = "tls")]
        {
            let error = open(&transport, "https://a.test/").await.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
            assert!(chain(&error).contains("the proxy that is set"), "{error:?}");
        }

        let (listener, port) = listen().await;
        let url = |host| format!("http://{host}:{port}/");
        let serve = async {
            answer(accept(&listener).await).await;
            answer(accept(&listener).await).await
        };
        let hear = async {
            hear(&transport, &url("localhost")).await;
            hear(&transport.clone().no_proxy(), &url("127.0.0.1")).await;
        };
        let (head, ()) = tokio::join!(serve, hear);
        assert!(!head.contains("proxy-authorization"), "{head}");
    });
}

#[cfg(all(feature = "tls", target_os = "linux"))]
#[test]
fn who_trusts_nobody_speaks_plain_http_and_says_so() {
    let nobody = [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nowhere"),
        ("no_proxy", "*"),
    ];
    check(
        "who_trusts_nobody_speaks_plain_http_and_says_so",
        &nobody,
        async {
            let (listener, port) = listen().await;
            let transport = DirectTransport::new();
            let url = format!("http://127.0.0.1:{port}/");
            tokio::join!(hear(&transport, &url), async {
                answer(accept(&listener).await).await;
            });
            let url = format!("https://127.0.0.1:{port}/");
            let error = open(&transport, &url).await.unwrap_err();
            check_failed(&error, "No CA certificates were loaded from the system");
            tls::check_own_authority().await;
        },
    );
}
