<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * What happens when the plugin is activated, updated, deactivated or removed.
 */
final class Install
{
    /**
     * Whether the core stops the daemon only for an update or the installation of dependencies. It starts it again within five
     * minutes, or not before somebody looks: too long for an alarm. What changes, setup.sh restarts by itself, and a
     * deactivation stops it in remove().
     */
    public static function isUnderWay(): bool
    {
        foreach (debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS) as $frame) {
            if (($frame['class'] ?? '') === 'plugin' && in_array($frame['function'], ['setIsEnable', 'dependancy_install'], true)) {
                return true;
            }
        }
        return false;
    }

    public static function install(): void
    {
        // Nobody but the daemon calls us, from this machine.
        \jeedom::getApiKey('domoflux');
        \config::save('api::domoflux::mode', 'localhost', 'core');
        \config::save('api::domoflux::restricted', 1, 'core');
        self::clearAway();
        self::update();
    }

    /**
     * A plugin that was deactivated before it was removed is not told of its removal. Its state is still there, and its flows
     * would run again without equipment.
     */
    private static function clearAway(): void
    {
        if (\eqLogic::byType('domoflux') !== [] || !is_dir(Setup::stateDir()) || Daemon::isRunning()) {
            return;
        }
        try {
            Setup::run('remove', '--purge');
        } catch (\Exception $e) {
            Notice::log('warning', $e->getMessage());
        }
    }

    public static function update(): void
    {
        Setup::mayTryAgain();
        // What equipment got with a new version: commands of new counters.
        foreach (\eqLogic::byType('domoflux') as $eqLogic) {
            if ($eqLogic instanceof \domoflux) {
                Commands::create($eqLogic);
            }
        }
        try {
            // It goes on running meanwhile: it gets from the new version what it gets at a start.
            Daemon::settle();
        } catch (\Throwable $e) {
            Notice::log('debug', $e->getMessage());
        }
    }

    /**
     * The core would start it within five minutes only. With systemd, setup.sh has restarted what it replaced.
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
        Daemon::endReplaced();
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
        foreach (['domoflux::values', 'domoflux::level', 'domoflux::callback', 'domoflux::heard', 'domoflux::notStarted'] as $key) {
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
