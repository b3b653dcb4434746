<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * What the dependency script (resources/setup.sh) has put on the machine, and what only root can do.
 */
final class Setup
{
    private const BINARIES = ['/usr/local/bin/domoflux', '/usr/bin/domoflux'];

    private const STATE_DIR = '/var/lib/domoflux/jeedom';

    /** What the script says of its last run, in lines `key=value`: state, version, binary, plugin, at, reason. */
    private const STATUS = '/var/lib/domoflux/jeedom-setup.status';

    /** What of the plugin the script installs: another sum of these, another installation. */
    private const INSTALLED = ['bin/SHA256SUMS', 'domoflux@.service', 'domoflux.sysusers', 'setup.sh'];

    /** Setting of the plugin: when it was installed last, a Unix time. */
    private const ASKED = 'setupAsked';

    /** Setting of the plugin: that dependencies are not installed by themselves was its own decision. */
    private const GAVE_UP = 'setupGaveUp';

    /** The program, '' if it is not installed. */
    public static function binary(): string
    {
        $asked = getenv('DOMOFLUX_BINARY');
        foreach (is_string($asked) && $asked !== '' ? [$asked] : self::BINARIES as $path) {
            if (is_executable($path)) {
                return $path;
            }
        }
        return '';
    }

    public static function stateDir(): string
    {
        $asked = getenv('DOMOFLUX_STATE_DIR');
        return is_string($asked) && $asked !== '' ? $asked : self::STATE_DIR;
    }

    public static function hasSystemd(): bool
    {
        return getenv('DOMOFLUX_STATE_DIR') === false
            && is_dir('/run/systemd/system')
            && (is_file('/etc/systemd/system/domoflux@.service') || is_file('/usr/lib/systemd/system/domoflux@.service'));
    }

    /** Why the daemon can't be started, '' if it can. */
    public static function missing(): string
    {
        if (self::binary() !== '') {
            return '';
        }
        $failure = self::failure();
        return $failure === '' ? __('Dépendances non installées', __FILE__) : __('Dépendances non installées :', __FILE__) . ' ' . $failure;
    }

    /**
     * For the core, which itself looks at packages only.
     *
     * @return array<string, string>
     */
    public static function state(): array
    {
        $status = self::status();
        $isAboutThis = ($status['plugin'] ?? '') === self::fingerprint();
        if ($isAboutThis && ($status['state'] ?? '') === 'ok' && is_executable($status['binary'] ?? '')) {
            self::goOn();
            return ['state' => 'ok'];
        }
        $failure = $isAboutThis && (int) ($status['at'] ?? 0) > (int) \config::byKey(self::ASKED, 'domoflux', 0) ? self::failure() : '';
        if ($failure !== '' && (int) \config::byKey('dependancyAutoMode', 'domoflux', 1) === 1) {
            // The core would repeat it every five minutes.
            \config::save('dependancyAutoMode', 0, 'domoflux');
            \config::save(self::GAVE_UP, 1, 'domoflux');
            Notice::keep('setup', sprintf(
                __('L\'installation des dépendances a échoué : %s. Elle n\'est pas répétée ; relancez-la depuis la page du plugin.', __FILE__),
                $failure
            ));
        }
        return ['state' => 'nok'];
    }

    /** The plugin was installed anew: what failed before, with the same sums even, may succeed now. */
    public static function mayTryAgain(): void
    {
        \config::save(self::ASKED, time(), 'domoflux');
        self::goOn();
    }

    /** Has the core install dependencies by itself again, unless it was a person who does not want that. */
    private static function goOn(): void
    {
        if ((int) \config::byKey(self::GAVE_UP, 'domoflux', 0) === 1) {
            \config::save('dependancyAutoMode', 1, 'domoflux');
            \config::remove(self::GAVE_UP, 'domoflux');
        }
        Notice::mended('setup');
    }

    /** The version that this plugin comes with. */
    public static function wanted(): string
    {
        $info = json_decode((string) file_get_contents(__DIR__ . '/../../plugin_info/info.json'), true);
        return (string) ($info['pluginVersion'] ?? '');
    }

    /** The version that is installed, '' if none is. */
    public static function version(): string
    {
        $binary = self::binary();
        if ($binary === '') {
            return '';
        }
        return (string) preg_replace('/^domoflux /', '', trim((string) exec(escapeshellarg($binary) . ' --version 2>/dev/null')));
    }

    private static function failure(): string
    {
        $status = self::status();
        return ($status['state'] ?? '') === 'failed' ? ($status['reason'] ?? '') : '';
    }

    /** @return array<string, string> */
    private static function status(): array
    {
        $status = [];
        foreach (explode("\n", (string) @file_get_contents(self::STATUS)) as $line) {
            $parts = explode('=', $line, 2);
            if (count($parts) === 2) {
                $status[$parts[0]] = $parts[1];
            }
        }
        return $status;
    }

    private static function fingerprint(): string
    {
        $all = '';
        foreach (self::INSTALLED as $file) {
            $path = __DIR__ . '/../../resources/' . $file;
            $all .= is_file($path) ? (string) file_get_contents($path) : '';
        }
        return hash('sha256', $all);
    }

    /**
     * Has the script do what needs root.
     *
     * @throws \Exception it can't
     */
    public static function run(string $what, string ...$arguments): void
    {
        $script = (string) realpath(__DIR__ . '/../../resources/setup.sh');
        $line = implode(' ', array_map('escapeshellarg', array_merge([$script, $what], $arguments)));
        exec(\system::getCmdSudo() . $line . ' 2>&1', $output, $status);
        if ($status !== 0) {
            throw new \Exception(implode(' ', array_slice($output, -3)) ?: sprintf(__('%1$s a échoué (code %2$d)', __FILE__), $line, $status));
        }
    }
}
