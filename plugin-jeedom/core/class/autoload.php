<?php

declare(strict_types=1);

// The core loads only the class that is called like the plugin.
spl_autoload_register(static function (string $class): void {
    if (strncmp($class, 'Domoflux\\', 9) === 0) {
        $file = __DIR__ . '/' . substr($class, 9) . '.php';
        if (is_file($file)) {
            require_once $file;
        }
    }
});
