<?php

declare(strict_types=1);

use Domoflux\Daemon;
use Domoflux\Rpc;
use Domoflux\Tests\Cases;
use Domoflux\Tests\Check;
use Domoflux\Tests\Jeedom;
use Domoflux\Tests\Wire;

Cases::add('it starts, tells how it is, and stops', static function (Jeedom $jeedom): void {
    $info = domoflux::deamon_info();
    Check::same(['domoflux_daemon', 'nok', 'ok'], [$info['log'], $info['state'], $info['launchable']]);
    $started = microtime(true);
    domoflux::deamon_start();
    Check::true(microtime(true) - $started < 10, 'within 10 s');
    Check::same('ok', domoflux::deamon_info()['state']);
    Check::same($jeedom->daemonPid(), Rpc::hello()['pid']);
    $pids = [$jeedom->supervisorPid(), $jeedom->daemonPid()];
    domoflux::deamon_stop();
    Check::same('nok', domoflux::deamon_info()['state']);
    foreach ($pids as $pid) {
        Check::true($pid > 1 && !Jeedom::runs($pid), "$pid has ended");
    }
});

Cases::add('a start leaves a daemon that runs alone, but for another port', static function (Jeedom $jeedom): void {
    $first = $jeedom->start()->daemonPid();
    Check::same($first, $jeedom->start()->daemonPid());
    $jeedom->port = Wire::freePort();
    config::save('port', (string) $jeedom->port, 'domoflux');
    $second = $jeedom->start()->daemonPid();
    Check::true($first !== $second && !Jeedom::runs($first), 'another process');
    Check::same($jeedom->port, Rpc::endpoint()['port']);
});

Cases::add('a daemon that is killed is back within 1 s', static function (Jeedom $jeedom): void {
    $pid = $jeedom->start()->daemonPid();
    posix_kill($pid, SIGKILL);
    Check::eventually(static function () use ($jeedom, $pid): bool {
        return $jeedom->daemonPid() !== $pid && domoflux::deamon_info()['state'] === 'ok';
    }, 'it is back', 1.0);
});

Cases::add('its flows are back before PHP does anything', static function (Jeedom $jeedom): void {
    $port = Wire::freePort();
    $jeedom->start()->mirror('Alarme', Jeedom::spec($port));
    posix_kill($jeedom->daemonPid(), SIGKILL);
    Check::eventually(static function () use ($port): bool {
        return Wire::answers($port);
    }, 'it listens again', 2.0);
});

Cases::add('a stop ends that process and no other', static function (Jeedom $jeedom): void {
    $jeedom->start();
    // Somebody else whose command line looks alike.
    $stranger = proc_open(['sh', '-c', 'sleep 30; : domoflux daemon --supervise --instance jeedom'], [], $pipes);
    $jeedom->stop();
    Check::true(proc_get_status($stranger)['running'], 'the other runs on');
    proc_terminate($stranger, SIGKILL);
});

Cases::add('a pid file of a process that has another program now ends nobody', static function (Jeedom $jeedom): void {
    $other = proc_open(['sleep', '30'], [], $pipes);
    mkdir($jeedom->path('tmp/domoflux'), 0777, true);
    file_put_contents($jeedom->path('tmp/domoflux/deamon.pid'), proc_get_status($other)['pid']);
    $jeedom->stop();
    Check::true(proc_get_status($other)['running'], 'it runs on');
    proc_terminate($other, SIGKILL);
});

Cases::add('a busy port is said, within 10 s, and another is taken', static function (Jeedom $jeedom): void {
    $taken = Wire::listen($jeedom->port);
    $started = microtime(true);
    $why = Check::thrown(static function () use ($jeedom): void {
        $jeedom->start();
    });
    Check::true(microtime(true) - $started < 11, 'in time');
    Check::has((string) $jeedom->port, $why);
    Check::has('in use', $why);
    Check::has($jeedom->port . ' est occupé', domoflux::deamon_info()['launchable_message'], 'the page says it too');
    // The core does not stop a daemon that does not answer.
    plugin::byId('domoflux')->deamon_stop();
    config::save('port', (string) Wire::freePort(), 'domoflux');
    plugin::byId('domoflux')->deamon_start();
    Check::same(['ok', ''], [domoflux::deamon_info()['state'], domoflux::deamon_info()['launchable_message']]);
    fclose($taken);
});

Cases::add('a port that another program has is said on the page, and the flows run', static function (Jeedom $jeedom): void {
    $taken = Wire::listen($jeedom->port);
    $info = domoflux::deamon_info();
    Check::same(['nok', 'ok'], [$info['state'], $info['launchable']]);
    plugin::byId('domoflux')->deamon_start();
    Check::true($jeedom->supervisorPid() > 0, 'it runs');
    $info = domoflux::deamon_info();
    Check::same(['nok', 'nok'], [$info['state'], $info['launchable']]);
    Check::has($jeedom->port . ' est occupé', $info['launchable_message']);
    fclose($taken);
});

Cases::add('without the program it is not launchable, and says what to do', static function (Jeedom $jeedom): void {
    putenv('DOMOFLUX_BINARY=/nonexistent');
    $info = domoflux::deamon_info();
    Check::same('nok', $info['launchable']);
    Check::has('Dépendances', $info['launchable_message']);
    Check::has('Dépendances', Check::thrown(static function () use ($jeedom): void {
        $jeedom->start();
    }));
});

Cases::add('the port of the form', static function (Jeedom $jeedom): void {
    foreach (['0', '80', '65536', '-1', '1e4', 'abc', '5517O'] as $wrong) {
        Check::has('1024', Check::thrown(static function () use ($wrong): void {
            config::save('port', $wrong, 'domoflux');
        }));
    }
    config::save('port', ' 55180 ', 'domoflux');
    Check::same(55180, Daemon::port());
    config::save('port', '', 'domoflux');
    Check::same(55170, Daemon::port());
});

Cases::add('the address of the callback is of this machine', static function (Jeedom $jeedom): void {
    $others = [
        'http://192.168.1.2', 'https://127.0.0.1', 'http://127.0.0.1.example', 'http://127.0.0.1@example.org/',
        'ftp://localhost', 'http://[::1]:8080/', 'x',
    ];
    foreach ($others as $wrong) {
        Check::thrown(static function () use ($wrong): void {
            config::save('callback', $wrong, 'domoflux');
        });
    }
    foreach (['', 'http://127.0.0.1', 'http://127.0.0.1:8080', 'http://localhost/jeedom'] as $right) {
        config::save('callback', $right, 'domoflux');
    }
});

Cases::add('the log level follows while it runs', static function (Jeedom $jeedom): void {
    $jeedom->start();
    $level = static function (int $level) use ($jeedom): void {
        config::save('log::level::domoflux', [100 => 0, $level => 1, 'default' => 0]);
        $jeedom->newProcess();
        domoflux::cron();
    };
    $talk = static function (): void {
        // At debug, the daemon logs who says hello.
        Rpc::call('daemon.hello', ['client' => 'level-test', 'api' => 1]);
    };
    $size = static function () use ($jeedom): int {
        clearstatcache();
        return strlen($jeedom->log('domoflux_daemon'));
    };
    $level(1000);
    $before = $size();
    $talk();
    $jeedom->mirror('Silencieux');
    Check::same($before, $size(), 'none is none');
    $level(100);
    $talk();
    Check::eventually(static function () use ($jeedom): bool {
        return strpos($jeedom->log('domoflux_daemon'), '[DEBUG]') !== false;
    }, 'debug is debug');
});

Cases::add('the level is told again to a daemon that was started again', static function (Jeedom $jeedom): void {
    config::save('log::level::domoflux', [100 => 0, 1000 => 1, 'default' => 0]);
    $jeedom->newProcess();
    $jeedom->start();
    Check::hasNot('[INFO]', $jeedom->log('domoflux_daemon'));
});

Cases::add('no key and no token is in a command line or a log', static function (Jeedom $jeedom): void {
    $key = \jeedom::getApiKey('domoflux');
    $jeedom->serve();
    $jeedom->start()->mirror('Clé');
    $token = trim(file_get_contents($jeedom->path('state/token')));
    Check::true(strlen($token) > 15, 'there is a token');
    foreach ([$jeedom->daemonPid(), $jeedom->supervisorPid()] as $pid) {
        foreach ([$key, $token] as $secret) {
            Check::hasNot($secret, file_get_contents("/proc/$pid/cmdline"));
            Check::hasNot($secret, file_get_contents("/proc/$pid/environ"));
        }
    }
    foreach (glob($jeedom->path('log/*')) as $log) {
        foreach ([$key, $token] as $secret) {
            Check::hasNot($secret, file_get_contents($log));
        }
    }
    Check::same('0600', substr(sprintf('%o', fileperms($jeedom->path('state/token'))), -4));
});

Cases::add('errors come in the language of the person', static function (Jeedom $jeedom): void {
    $jeedom->start();
    $texts = [];
    foreach (['fr_FR', 'en_US'] as $language) {
        translate::setLanguage($language);
        $texts[$language] = Check::thrown(static function (): void {
            Rpc::call('flow.status', ['id' => 'jeedom-999']);
        });
    }
    Check::true($texts['fr_FR'] !== $texts['en_US'], 'two languages: ' . $texts['fr_FR']);
});

Cases::add('an update of the plugin cuts nothing, and a person stops it nevertheless', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Alarme', Jeedom::spec($port = Wire::freePort(), $targetPort = Wire::freePort()));
    $target = Wire::listen($targetPort);
    $client = Wire::connect($port);
    $panel = Wire::accept($target);
    Wire::passes($client, $panel, 'before');
    $pid = $jeedom->daemonPid();
    plugin::byId('domoflux')->setIsEnable(1);
    Check::same($pid, $jeedom->daemonPid());
    Wire::passes($client, $panel, 'after');
    plugin::byId('domoflux')->deamon_stop();
    Check::same('nok', domoflux::deamon_info()['state']);
    Check::true(!Jeedom::runs($pid), 'it stopped');
});

Cases::add('a call that is refused before it is one is no answer', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->add('Grand');
    $large = ['listen' => str_repeat('x', 2000000)];
    Check::has('refuse', Check::thrown(static function () use ($large): void {
        Domoflux\Kinds::check(null, 'mirror', $large);
    }));
    file_put_contents($jeedom->path('state/token'), 'another token, that is not the daemon\'s');
    Check::has('refuse', Check::thrown(static function (): void {
        Rpc::hello();
    }));
    Check::same('nok', domoflux::deamon_info()['state']);
});
