//! The requests of a stream, and answers that are not a stream.

use serde_json::json;

use super::Service;
use crate::server::Server;

#[tokio::test]
async fn a_request_without_parameters_is_the_standards() {
    let service = Service::start().await;
    let none = json!({
        "initialDelayMs": null, "readTimeoutMs": null, "lastEventId": null,
        "headers": null, "method": null, "body": null,
    });
    for params in [
        json!({}),
        none,
        json!({ "lastEventId": "", "method": "", "body": "" }),
    ] {
        let request = service.stream(params).await.server.accept().await.request;
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("GET", "/stream?a=b")
        );
        assert_eq!(request.header("accept"), ["text/event-stream"]);
        assert_eq!(request.header("cache-control"), ["no-cache"]);
        assert!(request.header("last-event-id").is_empty());
        assert!(request.body.is_empty());
    }
}

#[tokio::test]
async fn headers_method_body_and_last_event_id_are_sent() {
    let service = Service::start().await;
    for method in ["GET", "POST", "REPORT"] {
        let body = if method == "GET" {
            ""
        } else {
            r#"{"hello": "world"}"#
        };
        let params = json!({
            "headers": {
                "header-name-1": "value-1",
                "header-name-2": "value-2",
                "content-type": "application/json; charset=utf-8",
            },
            "lastEventId": "abc",
            "method": method,
            "body": body,
        });
        let stream = service.stream(params).await;
        // The reconnection sends the same request.
        for _ in 0..2 {
            let request = stream.server.open().await.request;
            assert_eq!(request.method, method);
            assert_eq!(request.header("header-name-1"), ["value-1"]);
            assert_eq!(request.header("header-name-2"), ["value-2"]);
            let content_type = ["application/json; charset=utf-8"];
            assert_eq!(request.header("content-type"), content_type);
            assert_eq!(request.header("last-event-id"), ["abc"]);
            assert_eq!(request.body, body.as_bytes());
        }
    }
}

#[tokio::test]
async fn a_refusal_is_an_error_and_one_request() {
    let service = Service::start().await;
    for head in [
        "204 No Content",
        "400 X",
        "401 X",
        "500 X",
        "503 X",
        "200 OK\r\ncontent-type: a/b",
    ] {
        let mut stream = service.stream(json!({})).await;
        let mut connection = stream.server.accept().await;
        connection.write(format!("HTTP/1.1 {head}\r\n\r\n")).await;
        stream.expect_error().await;
        stream.server.expect_no_request().await;
        stream.callbacks.expect_no_request().await;
        // It can be closed as any other stream.
        service.close(stream).await;
    }
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let service = Service::start().await;
    for status in [301, 307] {
        let mut stream = service.stream(json!({})).await;
        let target = Server::start();
        let location = target.url("/to");
        let response =
            format!("HTTP/1.1 {status} X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        stream.server.answer(&response).await;
        let mut connection = target.open().await;
        connection.send("data: hello\n\n").await;
        stream.expect_event("hello", "").await;
    }
}

#[tokio::test]
async fn a_redirect_without_a_location_is_an_error() {
    let service = Service::start().await;
    for status in [301, 307] {
        for location in ["", "location: \r\n"] {
            let mut stream = service.stream(json!({})).await;
            let response = format!("HTTP/1.1 {status} X\r\n{location}content-length: 0\r\n\r\n");
            stream.server.answer(&response).await;
            stream.expect_error().await;
            stream.server.expect_no_request().await;
        }
    }
}
