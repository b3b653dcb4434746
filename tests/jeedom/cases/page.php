<?php

declare(strict_types=1);

use Domoflux\Ajax;
use Domoflux\Tests\Cases;
use Domoflux\Tests\Check;
use Domoflux\Tests\Jeedom;
use Domoflux\Tests\Wire;

/**
 * @param array<string, mixed> $asked
 * @param string[] $headers
 * @return array<string, mixed> what a page gets
 */
function ask(string $web, array $asked, array $headers = ['X-Test-Profile: admin']): array
{
    $headers[] = 'Content-Type: application/x-www-form-urlencoded';
    [$status, $body] = Wire::http('POST', $web . '/plugins/domoflux/core/ajax/domoflux.ajax.php', http_build_query($asked), $headers);
    Check::same(200, $status);
    return json_decode($body, true);
}

Cases::add('only administrators are answered, only by POST, only what there is', static function (Jeedom $jeedom): void {
    $web = $jeedom->serve();
    foreach ([[], ['X-Test-Profile: user'], ['X-Test-Profile: restrict']] as $who) {
        $answer = ask($web, ['action' => 'kinds'], $who);
        Check::same(['error', 401], [$answer['state'], $answer['code']]);
        Check::has('401', $answer['result']);
    }
    foreach (['', 'unknown', 'answer', 'text', 'flowId', '__construct', '<b>x</b>', 'KINDS'] as $action) {
        $answer = ask($web, ['action' => $action]);
        Check::same('error', $answer['state'], $action);
        Check::hasNot('<b>', $answer['result']);
    }
    [, $body] = Wire::http('GET', $web . '/plugins/domoflux/core/ajax/domoflux.ajax.php?action=kinds', '', ['X-Test-Profile: admin']);
    Check::same('error', json_decode($body, true)['state'], 'by GET');
    Check::same('error', ask($web, ['action' => ['kinds']])['state'], 'an array');
});

Cases::add('kinds, with the daemon and without', static function (Jeedom $jeedom): void {
    $web = $jeedom->serve();
    $without = ask($web, ['action' => 'kinds']);
    $jeedom->start();
    $with = ask($web, ['action' => 'kinds']);
    Check::same('ok', $with['state'], json_encode($with['result']));
    Check::same($with['result'], $without['result'], 'they are the same');
    Check::same('mirror', $with['result'][0]['kind']);
    Check::has('Miroir', $with['result'][0]['title']);
});

Cases::add('check', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('À vérifier');
    $id = (string) $eqLogic->getId();
    $check = static function (string $spec, string $kind = 'mirror') use ($id): array {
        return Ajax::answer('check', ['action' => 'check', 'id' => $id, 'kind' => $kind, 'spec' => $spec]);
    };
    Check::same(['daemon' => true, 'ok' => true, 'problems' => []], $check($eqLogic->specText()));
    $wrong = $check('{"listen":"x","target":"y","mirrors":[{"address":"z"}]}');
    Check::same([true, false], [$wrong['daemon'], $wrong['ok']]);
    $pointers = array_column($wrong['problems'], 'pointer');
    sort($pointers);
    Check::same(['/listen', '/mirrors/0/address', '/target'], $pointers);
    Check::same(false, $check('{}', 'no such kind')['ok']);
    Check::has('JSON', Check::thrown(static function () use ($check): void {
        $check('{');
    }));
    $jeedom->stop();
    $away = $check('{}');
    Check::same([false, true, []], [$away['daemon'], $away['ok'], $away['problems']]);
});

Cases::add('probe', static function (Jeedom $jeedom): void {
    $targetPort = Wire::freePort();
    $target = Wire::listen($targetPort);
    $jeedom->start();
    $spec = json_encode(Jeedom::spec(Wire::freePort(), $targetPort));
    $findings = Ajax::answer('probe', ['id' => '1', 'kind' => 'mirror', 'spec' => $spec])['findings'];
    $found = array_column($findings, 'ok', 'pointer');
    Check::same([true, false], [$found['/target'], $found['/mirrors/0/address']]);
    $wrong = Ajax::answer('probe', ['id' => '1', 'kind' => 'mirror', 'spec' => '{"listen":"x"}']);
    Check::true($wrong['findings'] === [] && $wrong['problems'] !== [], 'a wrong spec has problems');
    fclose($target);
});

Cases::add('live, restart, resync', static function (Jeedom $jeedom): void {
    $web = $jeedom->serve();
    $eqLogic = $jeedom->start()->mirror('En direct');
    $id = (string) $eqLogic->getId();
    $live = ask($web, ['action' => 'live', 'id' => $id, 'after' => '0'])['result'];
    Check::true(is_array($live), json_encode($live));
    Check::same([true, 'serving'], [$live['daemon']['ok'], $live['status']['state']]);
    Check::true(isset($live['counters']['clientConnections']) && $live['lines'] !== [], 'counters and lines');
    $last = max(array_column($live['lines'], 'seq'));
    foreach (ask($web, ['action' => 'live', 'id' => $id, 'after' => (string) $last])['result']['lines'] as $line) {
        Check::true($line['seq'] > $last, 'only what is new');
    }
    Check::same('ok', ask($web, ['action' => 'restart', 'id' => $id])['state']);
    Check::same('ok', ask($web, ['action' => 'resync'])['state']);
    Check::same('error', ask($web, ['action' => 'restart', 'id' => '999'])['state']);
    foreach (['', 'x', '-1', "1' OR '1", '999'] as $odd) {
        Check::same([null, null], array_values(array_intersect_key(
            ask($web, ['action' => 'live', 'id' => $odd])['result'] ?? ['status' => null, 'counters' => null],
            ['status' => 1, 'counters' => 1]
        )), 'id ' . $odd);
    }
    $jeedom->stop();
    $live = ask($web, ['action' => 'live', 'id' => $id])['result'];
    Check::same([false, null, []], [$live['daemon']['ok'], $live['status'], $live['lines']]);
    Check::same('error', ask($web, ['action' => 'resync'])['state']);
});

Cases::add('parameters that are missing or no texts', static function (Jeedom $jeedom): void {
    $jeedom->start();
    $odd = [[], ['id' => ['1'], 'spec' => ['x'], 'ids' => ['y'], 'kind' => ['z'], 'after' => ['0']], ['ids' => '[null, "x", [1], 1.5, {"a":1}]']];
    foreach (['kinds', 'check', 'probe', 'live', 'restart', 'importPreview', 'importApply', 'importUndo'] as $action) {
        foreach ($odd as $asked) {
            try {
                Ajax::answer($action, $asked);
            } catch (ErrorException $e) {
                throw $e;
            } catch (Exception $e) {
                Check::true($e->getMessage() !== '', $action . ' says why');
            }
        }
    }
});

Cases::add('health, and what goes into the forum', static function (Jeedom $jeedom): void {
    $port = Wire::freePort();
    $rows = domoflux::health();
    Check::same([1, false, 'NOK'], [count($rows), $rows[0]['state'], $rows[0]['result']]);
    $jeedom->serve();
    $spec = ['target' => 'secret.example:10001'] + Jeedom::spec($port);
    $jeedom->start()->mirror('Chez moi', $spec);
    $rows = domoflux::health();
    foreach ($rows as $row) {
        Check::same(['test', 'result', 'advice', 'state'], array_keys($row));
        Check::same(true, $row['state'], $row['test'] . ' : ' . $row['advice']);
    }
    Check::has('Mio', $rows[0]['result']);
    $text = domoflux::getConfigForCommunity();
    foreach (['secret.example', '127.0.0.1', (string) $port, 'Chez moi', \jeedom::getApiKey('domoflux'), $jeedom->path('')] as $private) {
        Check::hasNot($private, $text);
    }
    Check::has('(OK)', $text);
});

Cases::add('the tile of an equipment has no text that is HTML', static function (Jeedom $jeedom): void {
    $eqLogic = $jeedom->start()->mirror('Tuile');
    $eqLogic->getCmd('info', 'lastError')->event('<script>alert(1)</script> "#id#"');
    foreach (['dashboard', 'mobile', 'dview', 'mview'] as $version) {
        $html = Jeedom::reload($eqLogic)->toHtml($version);
        Check::has('en service', $html);
        Check::has('&lt;script&gt;alert(1)', $html);
        Check::hasNot('<script>alert(1)', $html);
        Check::true(preg_match('/#[a-zA-Z_]+#/', $html, $found) === 0, $version . ' has no placeholder left: ' . ($found[0] ?? ''));
    }
    Check::same('', Jeedom::form($eqLogic, ['isEnable' => '0'])->toHtml());
});

Cases::add('a backup has the counters, and a restore brings them back', static function (Jeedom $jeedom): void {
    $port = Wire::freePort();
    $eqLogic = $jeedom->start()->mirror('Compteurs', Jeedom::spec($port));
    Wire::answers($port);
    $count = static function () use ($eqLogic): int {
        return Domoflux\Rpc::call('flow.counters')[$eqLogic->flowId()]['clientConnections'];
    };
    Check::eventually(static function () use ($count): bool {
        return $count() === 1;
    }, 'a client is counted');
    ob_start();
    domoflux::backup();
    Check::same('', ob_get_clean());
    Domoflux\Rpc::call('flow.reset_counters', ['id' => $eqLogic->flowId()]);
    domoflux::restore();
    Check::same(1, $count());
    // What is ahead of the backup stays.
    Wire::answers($port);
    Check::eventually(static function () use ($count): bool {
        return $count() === 2;
    }, 'another client');
    domoflux::restore();
    Check::same(2, $count());
    Check::same('', config::byKey('restored', 'domoflux'), 'done');
});

Cases::add('a backup and a restore while the daemon is away', static function (Jeedom $jeedom): void {
    $port = Wire::freePort();
    $eqLogic = $jeedom->start()->mirror('Plus tard', Jeedom::spec($port));
    Wire::answers($port);
    Check::eventually(static function () use ($eqLogic): bool {
        return Domoflux\Rpc::call('flow.counters')[$eqLogic->flowId()]['clientConnections'] === 1;
    }, 'a client is counted');
    domoflux::backup();
    $file = $jeedom->path('plugins/domoflux/data/backup.json');
    $before = file_get_contents($file);
    Domoflux\Rpc::call('flow.reset_counters', ['id' => $eqLogic->flowId()]);
    $jeedom->stop();
    ob_start();
    domoflux::backup();
    Check::has('domoflux', ob_get_clean());
    Check::same($before, file_get_contents($file), 'the older one is kept');
    domoflux::restore();
    $jeedom->start();
    Check::same(1, Domoflux\Rpc::call('flow.counters')[$eqLogic->flowId()]['clientConnections']);
    file_put_contents($file, 'broken');
    domoflux::restore();
    Check::same('', config::byKey('restored', 'domoflux'));
    unlink($file);
    domoflux::restore();
});

Cases::add('a backup leaves out what other machines need', static function (Jeedom $jeedom): void {
    foreach (domoflux::backupExclude() as $path) {
        Check::true(strpos($path, 'resources/bin/') === 0, $path);
    }
    Check::same(2, count(domoflux::backupExclude()));
});

Cases::add('installed, updated, removed', static function (Jeedom $jeedom): void {
    domoflux_install();
    Check::same(['localhost', '1'], [(string) config::byKey('api::domoflux::mode'), (string) config::byKey('api::domoflux::restricted')]);
    $eqLogic = $jeedom->start()->mirror('Installé');
    // A version that knew fewer counters.
    $eqLogic->getCmd(null, 'mirrorTxPkts')->remove();
    $eqLogic->setConfiguration('commands', array_values(array_diff($eqLogic->getConfiguration('commands'), ['mirrorTxPkts'])));
    $eqLogic->save(true);
    domoflux_update();
    Check::true(is_object(Jeedom::reload($eqLogic)->getCmd(null, 'mirrorTxPkts')), 'the new counter has a command');
    $pid = $jeedom->supervisorPid();
    Jeedom::reload($eqLogic)->remove();
    domoflux_remove();
    Check::true(!Jeedom::runs($pid), 'the daemon has ended');
    Check::same([], $jeedom->messages());
});
