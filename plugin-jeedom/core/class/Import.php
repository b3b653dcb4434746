<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * Takes over equipment of the trafficmirror plugin in place: ids, histories, scenarios and designs go on working. It can be
 * undone.
 */
final class Import
{
    private const FROM = 'trafficmirror';

    /** Commands that trafficmirror made without a logical id, by their name. */
    private const NAMELESS = ['Opérationnel' => 'isListening', 'Rafraîchir' => 'refresh', 'RAZ statistiques' => 'clearStatistics'];

    /**
     * What would be taken over, and what was.
     *
     * @return array<int, array<string, mixed>> id, name, enabled, spec, problems, state (new, imported)
     */
    public static function preview(): array
    {
        $found = [];
        foreach (self::rows(self::FROM) as $row) {
            $spec = self::spec(self::configuration($row));
            $found[] = self::described($row, $spec, 'new', self::problems($spec));
        }
        foreach (self::rows('domoflux') as $row) {
            $configuration = self::configuration($row);
            if (isset($configuration['imported'])) {
                $found[] = self::described($row, json_decode((string) ($configuration['spec'] ?? ''), true) ?: [], 'imported', []);
            }
        }
        return $found;
    }

    /**
     * @param int[] $ids
     * @return array{imported: int[], failed: array<int, array{id: int, message: string}>}
     */
    public static function apply(array $ids): array
    {
        $isStopped = false;
        return self::each($ids, self::FROM, static function (array $row) use (&$isStopped): void {
            $configuration = self::configuration($row);
            $spec = self::spec($configuration);
            $wrong = self::problems($spec);
            if ($wrong !== [] && (int) $row['isEnable'] === 1) {
                throw new \Exception($wrong[0]['pointer'] . ' : ' . $wrong[0]['message']);
            }
            if (!$isStopped) {
                // Not before there is one to take over.
                self::stopOther();
                $isStopped = true;
            }
            $new = ['kind' => 'mirror', 'spec' => json_encode($spec, JSON_UNESCAPED_SLASHES), 'imported' => $configuration, 'commands' => []];
            self::rename((int) $row['id'], 'domoflux', $new);
            try {
                self::nameCommands((int) $row['id']);
                self::save((int) $row['id']);
            } catch (\Throwable $e) {
                self::rename((int) $row['id'], self::FROM, $configuration);
                throw $e;
            }
        });
    }

    /**
     * Gives equipment back to trafficmirror as it was.
     *
     * @param int[] $ids
     * @return array{imported: int[], failed: array<int, array{id: int, message: string}>}
     */
    public static function undo(array $ids): array
    {
        return self::each($ids, 'domoflux', static function (array $row): void {
            $configuration = self::configuration($row);
            if (!isset($configuration['imported'])) {
                throw new \Exception(__('cet équipement n\'a pas été importé', __FILE__));
            }
            $eqLogic = \eqLogic::byId($row['id']);
            if ($eqLogic instanceof \domoflux) {
                Flows::remove($eqLogic);
            }
            self::removeNew((int) $row['id'], $configuration['imported']['domofluxKept'] ?? []);
            unset($configuration['imported']['domofluxKept']);
            self::rename((int) $row['id'], self::FROM, $configuration['imported']);
        });
    }

    /** The spec of a mirror that does what the equipment of trafficmirror says it does.
     *
     * @param array<string, mixed> $old its configuration
     * @return array<string, mixed>
     */
    public static function spec(array $old): array
    {
        $text = static function (string $name) use ($old): string {
            return trim((string) ($old[$name] ?? ''));
        };
        $mirror = ['address' => self::address($text('mirrorHost'), $text('mirrorPort'))];
        // Its form saves "1" and "0".
        if (!empty($old['targetRx'])) {
            $mirror['from_target'] = true;
        }
        if (!empty($old['mirrorRx'])) {
            $mirror['to_client'] = true;
        }
        $spec = ['listen' => '0.0.0.0:' . $text('localPort'), 'target' => self::address($text('targetHost'), $text('targetPort')), 'mirrors' => [$mirror]];
        if ($text('protocol') === 'udp') {
            $spec['protocol'] = 'udp';
        }
        return $spec;
    }

    private static function address(string $host, string $port): string
    {
        return (strpos($host, ':') === false ? $host : '[' . trim($host, '[]') . ']') . ':' . $port;
    }

    /**
     * @param array<string, mixed> $spec
     * @return array<int, array{pointer: string, message: string}>
     */
    private static function problems(array $spec): array
    {
        try {
            return Kinds::check(null, 'mirror', $spec);
        } catch (AwayException | RpcException $e) {
            return [];
        }
    }

    /**
     * @param array<string, mixed> $row
     * @param array<string, mixed> $spec
     * @param array<int, array{pointer: string, message: string}> $problems
     * @return array<string, mixed>
     */
    private static function described(array $row, array $spec, string $state, array $problems): array
    {
        return [
            'id' => (int) $row['id'],
            'name' => $row['name'],
            'enabled' => (int) $row['isEnable'] === 1,
            'spec' => $spec,
            'problems' => $problems,
            'state' => $state,
        ];
    }

    /** Its daemon has the ports, and would take them again. */
    private static function stopOther(): void
    {
        try {
            $plugin = \plugin::byId(self::FROM);
        } catch (\Exception $e) {
            return; // Its equipment is there, the plugin is not any more.
        }
        if (is_object($plugin)) {
            $plugin->deamon_changeAutoMode(0);
            $plugin->deamon_stop();
        }
    }

    /**
     * @param int[] $ids
     * @param callable(array<string, mixed>): void $do
     * @return array{imported: int[], failed: array<int, array{id: int, message: string}>}
     */
    private static function each(array $ids, string $type, callable $do): array
    {
        $result = ['imported' => [], 'failed' => []];
        $rows = array_column(self::rows($type), null, 'id');
        foreach (array_unique($ids) as $id) {
            try {
                if (!isset($rows[$id])) {
                    throw new \Exception(sprintf(__('il n\'y a pas d\'équipement %1$s avec cet identifiant', __FILE__), $type));
                }
                $do($rows[$id]);
                $result['imported'][] = (int) $id;
            } catch (\Throwable $e) {
                $result['failed'][] = ['id' => (int) $id, 'message' => $e->getMessage()];
            }
        }
        return $result;
    }

    // ---- The database: objects of the other plugin would run its code, which fails

    /** @return array<int, array<string, mixed>> */
    private static function rows(string $type): array
    {
        $sql = 'SELECT id, name, isEnable, configuration FROM eqLogic WHERE eqType_name = :type ORDER BY name';
        return \DB::Prepare($sql, ['type' => $type], \DB::FETCH_TYPE_ALL);
    }

    /**
     * @param array<string, mixed> $row
     * @return array<string, mixed>
     */
    private static function configuration(array $row): array
    {
        $configuration = json_decode((string) $row['configuration'], true);
        return is_array($configuration) ? $configuration : [];
    }

    /** @param array<string, mixed> $configuration */
    private static function rename(int $id, string $type, array $configuration): void
    {
        if ($type === 'domoflux') {
            $configuration['imported']['domofluxKept'] = array_column(
                \DB::Prepare('SELECT id FROM cmd WHERE eqLogic_id = :id', ['id' => $id], \DB::FETCH_TYPE_ALL),
                'id'
            );
        }
        \DB::beginTransaction();
        try {
            \DB::Prepare(
                'UPDATE eqLogic SET eqType_name = :type, configuration = :configuration WHERE id = :id',
                ['type' => $type, 'configuration' => json_encode($configuration, JSON_UNESCAPED_UNICODE), 'id' => $id]
            );
            \DB::Prepare('UPDATE cmd SET eqType = :type WHERE eqLogic_id = :id', ['type' => $type, 'id' => $id]);
            \DB::commit();
        } catch (\Exception $e) {
            \DB::rollBack();
            throw $e;
        }
    }

    /** Gives commands that have no logical id theirs. */
    private static function nameCommands(int $id): void
    {
        foreach (self::NAMELESS as $name => $logicalId) {
            \DB::Prepare(
                "UPDATE cmd SET logicalId = :logicalId WHERE eqLogic_id = :id AND name = :name AND (logicalId IS NULL OR logicalId = '')",
                ['logicalId' => $logicalId, 'id' => $id, 'name' => $name]
            );
        }
    }

    private static function save(int $id): void
    {
        $eqLogic = \eqLogic::byId($id);
        if ($eqLogic instanceof \domoflux) {
            $eqLogic->save();
        }
    }

    /**
     * Removes the commands that trafficmirror did not have.
     *
     * @param array<int|string> $kept
     */
    private static function removeNew(int $id, array $kept): void
    {
        foreach (\cmd::byEqLogicId($id) as $cmd) {
            if (!in_array((int) $cmd->getId(), array_map('intval', $kept), true)) {
                $cmd->remove();
            }
        }
    }
}
