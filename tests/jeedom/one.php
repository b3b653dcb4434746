<?php

// Runs the tests of one file: one.php <file> [part of a test's name]. tests/jeedom/run calls it with what it needs.

declare(strict_types=1);

error_reporting(E_ALL);
foreach (['Cases', 'Check', 'Jeedom', 'Wire'] as $class) {
    require_once __DIR__ . '/support/' . $class . '.php';
}
require $argv[1];
exit(Domoflux\Tests\Cases::run($argv[2] ?? ''));
