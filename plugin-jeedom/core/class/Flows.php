<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * Equipment as flows of the daemon: pushing one, pushing all, removing.
 *
 * A daemon that is away never keeps a person from saving or removing: what it missed, it gets at its start.
 */
final class Flows
{
    public const OWNER = 'jeedom';

    public const PREFIX = 'jeedom-';

    /** In the cache: why the daemon does not run flows as their equipment was saved, by flow. */
    private const REFUSED = 'domoflux::refused';

    /** Setting of the plugin: flows whose equipment went while the daemon was away. */
    private const GONE = 'goneFlows';

    /**
     * @return array<string, mixed> what `flow.apply` wants; without a spec nothing is to run
     * @throws \Exception the spec is no JSON
     */
    public static function wanted(\domoflux $eqLogic): array
    {
        return [
            'id' => $eqLogic->flowId(),
            'kind' => $eqLogic->kind(),
            'spec' => Kinds::spec($eqLogic->specText()),
            'enabled' => (int) $eqLogic->getIsEnable() === 1,
        ];
    }

    /**
     * Before an equipment that runs is saved: a spec with errors is not.
     *
     * @throws \Exception with everything that is wrong
     */
    public static function refuseIfWrong(\domoflux $eqLogic): void
    {
        if ($eqLogic->specText() === '' || (int) $eqLogic->getIsEnable() !== 1) {
            return;
        }
        $spec = Kinds::spec($eqLogic->specText());
        try {
            $problems = Kinds::check($eqLogic->flowId(), $eqLogic->kind(), $spec);
        } catch (AwayException | RpcException $e) {
            Notice::log('debug', 'not checked: ' . $e->getMessage());
            return;
        }
        if ($problems !== []) {
            $lines = array_map(static function (array $problem): string {
                return ($problem['pointer'] === '' ? '' : ltrim($problem['pointer'], '/') . ' : ') . $problem['message'];
            }, $problems);
            // The core's page puts it into HTML.
            throw new \Exception(htmlspecialchars(implode(' ; ', $lines), ENT_QUOTES, 'UTF-8'));
        }
    }

    /**
     * Makes the flow of an equipment what it was saved as.
     *
     * @param bool $isNews somebody saved it just now, and looks; else what is wrong goes to the message centre, once
     */
    public static function push(\domoflux $eqLogic, bool $isNews = true): void
    {
        if ($eqLogic->specText() === '') {
            return;
        }
        try {
            $applied = Rpc::call('flow.apply', self::wanted($eqLogic) + ['owner' => self::OWNER]);
            self::setRefused([$eqLogic->flowId() => '']);
            Commands::update($eqLogic, $applied['status'], null);
        } catch (AwayException $e) {
            Commands::away($eqLogic);
            Notice::alert(sprintf(__('%s : enregistré, sera appliqué quand le démon tournera (%s)', __FILE__), $eqLogic->getName(), $e->getMessage()));
        } catch (RpcException $e) {
            self::notApplied($eqLogic, $e, $isNews);
        } catch (\Exception $e) {
            Notice::alert($eqLogic->getName() . ' : ' . $e->getMessage(), 'danger');
        }
    }

    /** The equipment is saved; its flow is not as it says. */
    private static function notApplied(\domoflux $eqLogic, RpcException $error, bool $isNews): void
    {
        if ($error->kind === 'invalid_spec' && (int) $eqLogic->getIsEnable() !== 1) {
            // What can't run is not to run either.
            self::remove($eqLogic);
            return;
        }
        if ($isNews) {
            Notice::alert($eqLogic->getName() . ' : ' . $error->getMessage(), 'danger');
        } else {
            Notice::keep($eqLogic->flowId(), $eqLogic->getHumanName() . ' : ' . $error->getMessage(), Notice::linkTo($eqLogic));
        }
        if (empty($error->data['listed'])) {
            // The daemon goes on with what it had.
            self::setRefused([$eqLogic->flowId() => $error->getMessage()]);
        }
        try {
            Commands::update($eqLogic, Rpc::call('flow.status', ['id' => $eqLogic->flowId()]), null);
        } catch (AwayException | RpcException $e) {
            Commands::away($eqLogic);
        }
    }

    /**
     * Why the daemon does not run flows as they were saved, by flow.
     *
     * @return array<string, string>
     */
    public static function refused(): array
    {
        $refused = \cache::byKey(self::REFUSED)->getValue();
        return is_array($refused) ? $refused : [];
    }

    /** @param array<string, string> $why by flow, '' if it runs as it was saved */
    private static function setRefused(array $why): void
    {
        $before = self::refused();
        $refused = array_filter($why + $before, 'strlen');
        if ($refused !== $before) {
            \cache::set(self::REFUSED, $refused);
        }
    }

    /** Ends the flow of an equipment that goes, now or at the daemon's next start. */
    public static function remove(\domoflux $eqLogic): void
    {
        self::setRefused([$eqLogic->flowId() => '']);
        Notice::mended($eqLogic->flowId());
        try {
            Rpc::call('flow.remove', ['id' => $eqLogic->flowId()]);
        } catch (AwayException $e) {
            $gone = self::gone();
            $gone[] = $eqLogic->flowId();
            \config::save(self::GONE, json_encode(array_values(array_unique($gone))), 'domoflux');
            Notice::alert(sprintf(__('%s : son flux sera retiré quand le démon tournera (%s)', __FILE__), $eqLogic->getName(), $e->getMessage()));
        } catch (RpcException $e) {
            if ($e->kind !== 'unknown_flow') {
                Notice::alert($eqLogic->getName() . ' : ' . $e->getMessage(), 'danger');
            }
        }
    }

    /** What remove() could not do is said and noted already. */
    public static function removeAgain(string $flowId): void
    {
        try {
            Rpc::call('flow.remove', ['id' => $flowId]);
        } catch (AwayException | RpcException $e) {
            Notice::log('debug', $flowId . ': ' . $e->getMessage());
        }
    }

    /**
     * Makes the daemon's flows those of the equipment: after its start, and when somebody asks for it.
     *
     * @throws AwayException
     * @throws RpcException
     */
    public static function pushAll(): void
    {
        self::removeGone();
        $flows = [];
        $names = [];
        foreach (\eqLogic::byType('domoflux') as $eqLogic) {
            if (!$eqLogic instanceof \domoflux || $eqLogic->specText() === '') {
                continue;
            }
            try {
                $flows[] = self::wanted($eqLogic);
                $names[$eqLogic->flowId()] = $eqLogic->getName();
            } catch (\Exception $e) {
                Notice::log('error', $eqLogic->getName() . ' : ' . $e->getMessage());
            }
        }
        try {
            $done = Rpc::call('flow.sync', ['owner' => self::OWNER, 'flows' => $flows], 10.0);
        } catch (RpcException $e) {
            if ($e->kind !== 'would_remove_all') {
                throw $e;
            }
            // A database that lost its equipment must not unplug an alarm.
            Notice::keep('empty', __('Jeedom n\'a plus aucun équipement domoflux, le démon a encore des flux : ils continuent. Restaurez une sauvegarde, ou retirez-les avec « domoflux flow remove ».', __FILE__));
            return;
        }
        Notice::mended('empty');
        self::setRefused(array_fill_keys(array_merge($done['created'], $done['changed'], $done['unchanged']), ''));
        foreach ($done['failed'] as $failed) {
            Notice::log('error', ($names[$failed['id']] ?? $failed['id']) . ' : ' . $failed['error']);
        }
        Notice::log('info', sprintf(
            'flows: %d new, %d changed, %d as they were, %d removed, %d failed',
            count($done['created']),
            count($done['changed']),
            count($done['unchanged']),
            count($done['removed']),
            count($done['failed'])
        ));
    }

    /**
     * An answer of the daemon with the names of equipment in its texts. There, quotes are escaped; ids as values have others.
     */
    public static function named(string $json): string
    {
        return (string) preg_replace_callback('/\\\\"' . self::PREFIX . '(\d+)\\\\"/', static function (array $found): string {
            $eqLogic = self::equipment(self::PREFIX . $found[1]);
            $name = json_encode($eqLogic === null ? self::PREFIX . $found[1] : $eqLogic->getHumanName(), JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
            return '\\"' . substr((string) $name, 1, -1) . '\\"';
        }, $json);
    }

    /** The equipment of a flow, if it has one. */
    public static function equipment(string $flowId): ?\domoflux
    {
        // A database takes "1 or so" for 1.
        if (preg_match('/^' . self::PREFIX . '(\d{1,10})$/D', $flowId, $found) !== 1) {
            return null;
        }
        $eqLogic = \eqLogic::byId($found[1]);
        return $eqLogic instanceof \domoflux ? $eqLogic : null;
    }

    /**
     * @throws AwayException
     */
    private static function removeGone(): void
    {
        foreach (self::gone() as $id) {
            // It may have come back since, from a backup say: what runs is not cut.
            if (self::equipment($id) !== null) {
                continue;
            }
            try {
                Rpc::call('flow.remove', ['id' => $id]);
            } catch (RpcException $e) {
                Notice::log('debug', $id . ': ' . $e->getMessage());
            }
        }
        \config::remove(self::GONE, 'domoflux');
    }

    /** @return string[] */
    private static function gone(): array
    {
        $gone = \config::byKey(self::GONE, 'domoflux', []);
        $gone = is_string($gone) ? json_decode($gone, true) : $gone;
        return is_array($gone) ? $gone : [];
    }
}
