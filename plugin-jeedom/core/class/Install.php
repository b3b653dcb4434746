<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * What happens when the plugin is activated, updated, deactivated or removed.
 */
final class Install
{
    public static function install(): void
    {
        // Nobody but the daemon calls us, from this machine.
        \jeedom::getApiKey('domoflux');
        \config::save('api::domoflux::mode', 'localhost', 'core');
        \config::save('api::domoflux::restricted', 1, 'core');
        self::update();
    }

    public static function update(): void
    {
        // A new version may well succeed where the last one failed.
        if (Notice::isKept('setup')) {
            \config::save('dependancyAutoMode', 1, 'domoflux');
            Notice::mended('setup');
        }
        // What equipment got with a new version: commands of new counters.
        foreach (\eqLogic::byType('domoflux') as $eqLogic) {
            if ($eqLogic instanceof \domoflux) {
                Commands::create($eqLogic);
            }
        }
    }

    /**
     * The core stops the daemon before it installs dependencies, at each update, too, and would start it again within five
     * minutes.
     */
    public static function dependenciesDone(): void
    {
        if (posix_geteuid() === 0) {
            // What root writes into Jeedom's cache, the web server could not replace.
            $code = 'require ' . var_export((string) realpath(__DIR__ . '/../../../../core/php/core.inc.php'), true) . '; domoflux::dependancy_end();';
            exec('runuser -u ' . escapeshellarg((string) \system::get('www-uid')) . ' -- php -r ' . escapeshellarg($code) . ' 2>&1', $output);
            echo implode("\n", $output);
            return;
        }
        if ((int) \config::byKey('deamonAutoMode', 'domoflux', 1) !== 1 || !\jeedom::isStarted() || Daemon::info()['state'] === 'ok') {
            return;
        }
        try {
            Daemon::start();
        } catch (\Throwable $e) {
            Notice::log('error', $e->getMessage());
        }
    }

    public static function remove(): void
    {
        // The core removes a plugin's equipment before the plugin. Without any, nothing is worth keeping; with some, the plugin
        // is only deactivated.
        $forEver = \eqLogic::byType('domoflux') === [];
        foreach (['daemon', 'setup', 'empty'] as $topic) {
            Notice::mended($topic);
        }
        try {
            Daemon::stop();
            if ($forEver) {
                Setup::run('remove', '--purge');
                self::forget();
            } else {
                Setup::run('remove');
            }
        } catch (\Throwable $e) {
            // Nobody would hear of it.
            Notice::log('error', $e->getMessage());
        }
    }

    /** What the core keeps of a plugin that it removes. */
    private static function forget(): void
    {
        foreach (['api::domoflux::mode', 'api::domoflux::restricted', 'log::level::domoflux'] as $key) {
            \config::remove($key, 'core');
        }
        foreach (['domoflux::values', 'domoflux::level', 'domoflux::heard', 'domoflux::notStarted'] as $key) {
            \cache::delete($key);
        }
        foreach (['domoflux_packages', Daemon::LOG, 'domoflux'] as $log) {
            $file = \log::getPathToLog($log);
            if (is_file($file)) {
                unlink($file);
            }
        }
    }
}
