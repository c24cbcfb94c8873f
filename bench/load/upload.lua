-- What wrk sends in the upload scenario: 64 KiB, the same every time.
wrk.method = "POST"
wrk.body = string.rep("x", 64 * 1024)
wrk.headers["Content-Type"] = "application/octet-stream"
