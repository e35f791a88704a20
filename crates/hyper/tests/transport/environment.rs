//! Settings of the environment. Each test runs in a process of its own with its variables.

use std::env;
use std::process::Command;

use super::*;

const IS_CHILD: &str = "TIDINGS_TEST_IS_CHILD";

/// Runs the body in a process with these variables: this test starts itself again with them.
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
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && output.contains("1 passed"),
        "{output}"
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
        check_failed(&error, "no TCP connection to the proxy 127.0.0.1:1");
        #[cfg(feature = "tls")]
        {
            let error = open(&transport, "https://a.test/").await.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
            assert!(
                chain(&error).contains("the proxy cannot be used"),
                "{error:?}"
            );
        }

        let (listener, port) = listen().await;
        let url = |host| format!("http://{host}:{port}/");
        let serve = async {
            answer(accept(&listener).await).await;
            answer(accept(&listener).await).await
        };
        let read = async {
            receive(&transport, &url("localhost")).await;
            receive(&transport.clone().no_proxy(), &url("127.0.0.1")).await;
        };
        let (head, ()) = tokio::join!(serve, read);
        assert!(!head.contains("proxy-authorization"), "{head}");
    });
}

#[cfg(all(feature = "tls", target_os = "linux"))]
#[test]
fn without_root_certificates_only_https_fails() {
    let no_roots = [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nowhere"),
        ("no_proxy", "*"),
    ];
    check(
        "without_root_certificates_only_https_fails",
        &no_roots,
        async {
            let (listener, port) = listen().await;
            let transport = DirectTransport::new();
            let url = format!("http://127.0.0.1:{port}/");
            tokio::join!(receive(&transport, &url), async {
                answer(accept(&listener).await).await;
            });
            let url = format!("https://127.0.0.1:{port}/");
            let error = open(&transport, &url).await.unwrap_err();
            check_failed(&error, "could not be set up (check the root certificates");
            check_failed(&error, "No CA certificates were loaded from the system");
            tls::check_own_authority().await;
        },
    );
}
