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

    public static function remove(): void
    {
        foreach (['daemon', 'setup', 'empty'] as $topic) {
            Notice::mended($topic);
        }
        try {
            Daemon::stop();
            // The core removes a plugin's equipment before the plugin. Without any, nothing is worth keeping; with some, the
            // plugin is only deactivated.
            if (\eqLogic::byType('domoflux') === []) {
                Setup::run('remove', '--purge');
            } else {
                Setup::run('remove');
            }
        } catch (\Throwable $e) {
            // Nobody would hear of it.
            Notice::log('error', $e->getMessage());
        }
    }
}
