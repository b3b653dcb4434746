<?php

// The daemon posts here what happens. Nobody else gets an answer, and no key is ever in an address, which web servers log.

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    http_response_code(405);
    exit;
}
require_once __DIR__ . '/../../../../core/php/core.inc.php';
include_file('core', 'domoflux', 'class', 'domoflux');

try {
    // The daemon sends a hundred events at most.
    http_response_code(Domoflux\Callback::receive((string) file_get_contents('php://input', false, null, 0, 1048576)));
} catch (Domoflux\AwayException $e) {
    // It posts, and does not answer: it stops, or lacks the port of its API. It tries again.
    log::add('domoflux', 'info', $e->getMessage());
    http_response_code(503);
} catch (Throwable $e) {
    // It tries again.
    log::add('domoflux', 'error', $e->getMessage());
    http_response_code(500);
}
