<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * The daemon of this Jeedom: starting, stopping, telling how it goes.
 *
 * With systemd it is the service domoflux@jeedom, so that it outlives PHP and the web server; without, `domoflux daemon
 * --supervise` in a session of its own. Either way it is back within a second when it dies, without Jeedom.
 */
final class Daemon
{
    public const LOG = 'domoflux_daemon';

    private const PORT = 55170;

    /** How long a start or a stop may take. A stop drains connections for up to 10 s. */
    private const START_SECONDS = 10.0;

    private const STOP_SECONDS = 12.0;

    /** In the cache: the log level that the daemon was told. */
    private const LEVEL = 'domoflux::level';

    /** @return array<string, string> what the core shows */
    public static function info(): array
    {
        $info = ['log' => self::LOG, 'state' => 'nok', 'launchable' => 'ok', 'launchable_message' => ''];
        try {
            Rpc::hello();
            $info['state'] = 'ok';
            return $info;
        } catch (RpcException $e) {
            // It runs, and is too old or too new for this plugin.
            $info['launchable_message'] = $e->getMessage();
        } catch (AwayException $e) {
            $info['launchable_message'] = self::obstacle($e);
            if ($info['launchable_message'] !== '') {
                // The core shows why only of what it would not start.
                $info['launchable'] = 'nok';
            } else {
                $info['launchable_message'] = (string) \cache::byKey('domoflux::notStarted')->getValue('');
            }
        }
        // The core puts it into HTML.
        $info['launchable_message'] = htmlspecialchars($info['launchable_message'], ENT_QUOTES, 'UTF-8');
        return $info;
    }

    /**
     * Starts it, and returns when it answers.
     *
     * @throws \Exception it does not, and why
     */
    public static function start(): void
    {
        $missing = Setup::missing();
        if ($missing !== '') {
            throw new \Exception($missing);
        }
        Notice::log('info', __('Démarrage du démon', __FILE__));
        clearstatcache();
        $logged = (int) @filesize(\log::getPathToLog(self::LOG));
        try {
            if (Setup::hasSystemd()) {
                Setup::run('configure', (string) self::port(), self::logLevel(), date_default_timezone_get());
                Setup::run((int) \config::byKey('deamonAutoMode', 'domoflux', 1) === 1 ? 'enable' : 'disable');
                Setup::run(self::hasAnotherPort() ? 'restart' : 'start');
            } else {
                self::supervise();
            }
            self::waitUntilItAnswers($logged);
            self::settle();
        } catch (\Exception $e) {
            \cache::set('domoflux::notStarted', $e->getMessage());
            // The core only logs it: its page of plugins says no more than that the daemon does not run.
            Notice::keep('daemon', $e->getMessage());
            throw $e;
        }
        \cache::set('domoflux::notStarted', '');
        Notice::mended('daemon');
    }

    /** What a daemon that just started has to know. */
    public static function settle(): void
    {
        \cache::set(self::LEVEL, '');
        self::followLogLevel();
        Callback::register();
        Flows::pushAll();
        Backup::apply();
        Commands::updateAll();
    }

    /**
     * Ends it: by the service manager, or by its process id; nothing else is touched.
     *
     * @throws \Exception it can't be ended
     */
    public static function stop(): void
    {
        $pid = self::supervisor();
        if ($pid > 0) {
            self::end($pid);
            return;
        }
        if (Setup::hasSystemd() && Setup::missing() === '') {
            Setup::run('stop');
        }
    }

    /** Without systemd: ends it if its program was replaced, which it would go on running. */
    public static function endReplaced(): void
    {
        $pid = self::supervisor();
        if ($pid > 0 && @readlink("/proc/$pid/exe") !== Setup::binary()) {
            self::end($pid);
        }
    }

    /** Whether the machine starts it at boot. */
    public static function atBoot(bool $yes): void
    {
        if (Setup::hasSystemd() && Setup::missing() === '') {
            try {
                Setup::run($yes ? 'enable' : 'disable');
            } catch (\Exception $e) {
                Notice::log('error', $e->getMessage());
            }
        }
    }

    /** Tells the daemon the log level of the plugin, if that is another one. */
    public static function followLogLevel(): void
    {
        $level = self::logLevel();
        if (\cache::byKey(self::LEVEL)->getValue('') === $level) {
            return;
        }
        try {
            Rpc::call('daemon.set_log_level', ['level' => $level]);
            \cache::set(self::LEVEL, $level);
        } catch (AwayException | RpcException $e) {
            Notice::log('debug', 'log level: ' . $e->getMessage());
        }
    }

    private static function logLevel(): string
    {
        $levels = ['debug' => 'debug', 'info' => 'info', 'notice' => 'info', 'warning' => 'warn', 'none' => 'none'];
        return $levels[\log::convertLogLevel((int) \log::getLogLevel('domoflux'))] ?? 'error';
    }

    // ---- Without systemd

    private static function supervise(): void
    {
        $listen = '127.0.0.1:' . self::port();
        $pid = self::supervisor();
        if ($pid > 0) {
            // It may do its work and only lack the port of its API: an alarm's connection is not cut for that.
            if (in_array($listen, self::commandLine($pid), true)) {
                return;
            }
            self::end($pid);
        }
        $command = [
            Setup::binary(), 'daemon', '--supervise', '--instance', 'jeedom',
            '--state-dir', Setup::stateDir(),
            '--listen', $listen,
            '--log-format', 'jeedom',
            '--log-level', self::logLevel(),
            '--pid-file', self::pidFile(),
        ];
        $line = implode(' ', array_map('escapeshellarg', $command));
        // The log's times are those that Jeedom shows.
        putenv('TZ=' . date_default_timezone_get());
        exec($line . ' >> ' . escapeshellarg(\log::getPathToLog(self::LOG)) . ' 2>&1 < /dev/null &');
    }

    /** Whether the service that runs was started with another port than the one that is set now. */
    private static function hasAnotherPort(): bool
    {
        $pid = (int) exec('systemctl show -p MainPID --value domoflux@jeedom.service 2>/dev/null');
        $environment = $pid > 0 ? (string) exec(\system::getCmdSudo() . 'cat /proc/' . $pid . '/environ 2>/dev/null') : '';
        return $pid > 0 && strpos("\0" . $environment, "\0DOMOFLUX_LISTEN=127.0.0.1:" . self::port() . "\0") === false;
    }

    private static function pidFile(): string
    {
        return \jeedom::getTmpFolder('domoflux') . '/deamon.pid';
    }

    /** The process id of the supervisor, 0 if there is none. */
    private static function supervisor(): int
    {
        $pid = (int) trim((string) @file_get_contents(self::pidFile()));
        // The file may be older than the process that has its number now.
        return $pid > 1 && in_array('--supervise', self::commandLine($pid), true) ? $pid : 0;
    }

    /** @return string[] */
    private static function commandLine(int $pid): array
    {
        return explode("\0", (string) @file_get_contents("/proc/$pid/cmdline"));
    }

    private static function end(int $pid): void
    {
        posix_kill($pid, 15);
        $deadline = microtime(true) + self::STOP_SECONDS;
        while (self::supervisor() === $pid) {
            if (microtime(true) > $deadline) {
                Notice::log('error', sprintf(__('Le démon (%d) ne s\'arrête pas, il est tué', __FILE__), $pid));
                // The kernel ends the daemon with its supervisor.
                posix_kill($pid, 9);
                return;
            }
            usleep(50000);
        }
    }

    /** @param int $logged the size of its log before */
    private static function waitUntilItAnswers(int $logged): void
    {
        $deadline = microtime(true) + self::START_SECONDS;
        $why = '';
        do {
            try {
                Rpc::hello();
                return;
            } catch (RpcException $e) {
                throw $e;
            } catch (AwayException $e) {
                $why = $e->getMessage();
                usleep(50000);
            }
        } while (microtime(true) < $deadline);
        $said = self::lastWords($logged);
        throw new \Exception($said === '' ? $why : $said);
    }

    /** What a start would not help against, '' if it may. */
    private static function obstacle(AwayException $away): string
    {
        if (Setup::missing() !== '') {
            return Setup::missing();
        }
        if ($away->isLockedOut()) {
            return $away->getMessage();
        }
        // One that does not run yet is started all the same: its flows run, and it tries the port again.
        if (self::isRunning() && self::portIsTaken()) {
            return sprintf(__('Le port %d est occupé par un autre programme : changez-le dans la configuration du plugin.', __FILE__), self::port());
        }
        return '';
    }

    /** Whether there is a process of it, which may not answer. */
    public static function isRunning(): bool
    {
        if (self::supervisor() > 0) {
            return true;
        }
        if (!Setup::hasSystemd()) {
            return false;
        }
        exec('systemctl --quiet is-active domoflux@jeedom.service 2>/dev/null', $output, $status);
        return $status === 0;
    }

    private static function portIsTaken(): bool
    {
        $socket = @stream_socket_server('tcp://127.0.0.1:' . self::port());
        if ($socket === false) {
            return true;
        }
        fclose($socket);
        return false;
    }

    /** The last error in what its log has beyond `$from` bytes, but for those about one of its flows. */
    private static function lastWords(int $from): string
    {
        clearstatcache();
        $log = \log::getPathToLog(self::LOG);
        // Somebody may have emptied it meanwhile.
        $from = $from > (int) @filesize($log) ? 0 : $from;
        $lines = explode("\n", (string) @file_get_contents($log, false, null, $from, 65536));
        foreach (array_reverse($lines) as $line) {
            if (preg_match('/\[ERROR\] ?(?!' . Flows::PREFIX . '\d)(.*)/', $line, $found) === 1) {
                return $found[1];
            }
        }
        return '';
    }

    // ---- Settings

    public static function port(): int
    {
        $port = (int) \config::byKey('port', 'domoflux', self::PORT);
        return $port > 0 && $port < 65536 ? $port : self::PORT;
    }

    /**
     * @throws \Exception it is none
     */
    public static function checkedPort(string $port): string
    {
        if ($port === '') {
            return $port;
        }
        if (!ctype_digit($port) || (int) $port < 1024 || (int) $port > 65535) {
            throw new \Exception(__('Le port de l\'API du démon est un nombre entre 1024 et 65535.', __FILE__));
        }
        return (string) (int) $port;
    }

    /**
     * @throws \Exception it is no address that the daemon would take
     */
    public static function checkedCallback(string $url): string
    {
        // Not [::1]: the core lets nobody but 127.0.0.1 use the key of the plugin.
        if ($url !== '' && preg_match('#^http://(127\.\d+\.\d+\.\d+|localhost)(:\d+)?(/\S*)?$#D', $url) !== 1) {
            throw new \Exception(__('L\'adresse de rappel est celle de Jeedom vue de cette machine : http://127.0.0.1[:port][/chemin].', __FILE__));
        }
        return rtrim($url, '/');
    }
}
