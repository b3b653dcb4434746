<?php

// A fake of Jeedom's core, for the tests: the classes and functions that the plugin touches, with the contract of core 4.5.3.
// What the plugin does not use is not here; DB::Prepare refuses statements that it does not know. It runs without any
// extension (`php -n`), so the "database" is a journal in a file, which several processes share.

date_default_timezone_set('Europe/Brussels');

// The real core hides notices by default; here each is a failure.
error_reporting(E_ALL);
set_error_handler(static function (int $level, string $text, string $file, int $line): bool {
    if ((error_reporting() & $level) === 0) {
        return false; // Behind an @.
    }
    throw new ErrorException($text, 0, $level, $file, $line);
});

define('DEBUG', 0);
$JEEDOM_INTERNAL_CONFIG = ['alerts' => ['timeout' => [], 'batterywarning' => [], 'batterydanger' => [], 'warning' => [], 'danger' => []]];

if (!class_exists('PDO')) {
    require_once __DIR__ . '/../class/PDO.class.php';
}
require_once __DIR__ . '/utils.inc.php';

spl_autoload_register(static function (string $class): void {
    $file = __DIR__ . '/../class/' . $class . '.class.php';
    if (is_file($file)) {
        require_once $file;
        return;
    }
    // Plugins: the class of commands is in the file of the equipment's.
    $plugin = str_replace(['Real', 'Cmd'], '', $class);
    if (strpos($class, '\\') === false && strpos($class, '/') === false && (int) config::byKey('active', $plugin, null) === 1) {
        include_file('core', $plugin, 'class', $plugin);
    }
}, true, true);
require_once __DIR__ . '/../class/translate.class.php';
