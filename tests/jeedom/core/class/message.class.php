<?php

class message
{
    protected $id;
    protected $date;
    protected $logicalId;
    protected $plugin;
    protected $message;
    protected $action;
    protected $occurrences;

    public static function add($_type, $_message, $_action = '', $_logicalId = '', $_writeMessage = true, $_channel = null)
    {
        $row = [
            'date' => date('Y-m-d H:i:s'), 'logicalId' => substr(secureXSS($_logicalId), 0, 126), 'plugin' => secureXSS($_type),
            'message' => secureXSS($_message), 'action' => secureXSS($_action), 'occurrences' => null,
        ];
        if ($row['message'] === '') {
            return;
        }
        $known = $row['logicalId'] === '' ? [] : self::byPluginLogicalId($row['plugin'], $row['logicalId']);
        if ($known !== []) {
            $id = $known[0]->getId();
            journal::change('message', static function (array $rows) use ($id, $row): array {
                return [$id => ['date' => $row['date'], 'occurrences' => ($rows[$id]['occurrences'] ?? 1) + 1] + $rows[$id]];
            });
            return;
        }
        if ($row['logicalId'] === '') {
            $row['logicalId'] = $row['plugin'] . '::' . config::genKey();
        }
        DB::insert('message', $row);
        event::add('message::refreshMessageNumber');
    }

    public static function removeAll($_plugin = '', $_logicalId = '', $_search = false)
    {
        journal::change('message', static function (array $rows) use ($_plugin, $_logicalId): array {
            $gone = [];
            foreach ($rows as $id => $row) {
                if (($_plugin === '' || $row['plugin'] === $_plugin) && ($_logicalId === '' || $row['logicalId'] === $_logicalId)) {
                    $gone[$id] = null;
                }
            }
            return $gone;
        });
        event::add('message::refreshMessageNumber');
        return true;
    }

    /** @return message[] */
    public static function byPluginLogicalId($_plugin, $_logicalId)
    {
        $sql = 'SELECT ' . DB::buildField(__CLASS__) . ' FROM message WHERE logicalId = :logicalId AND plugin = :plugin';
        return DB::Prepare($sql, ['logicalId' => $_logicalId, 'plugin' => $_plugin], DB::FETCH_TYPE_ALL, PDO::FETCH_CLASS, __CLASS__);
    }

    /** @return message[] */
    public static function byPlugin($_plugin)
    {
        $sql = 'SELECT ' . DB::buildField(__CLASS__) . ' FROM message WHERE plugin = :plugin ORDER BY date';
        return DB::Prepare($sql, ['plugin' => $_plugin], DB::FETCH_TYPE_ALL, PDO::FETCH_CLASS, __CLASS__);
    }

    public function getId()
    {
        return $this->id;
    }

    public function getLogicalId()
    {
        return $this->logicalId;
    }

    public function getMessage($display = false)
    {
        return $display === true ? strip_tags(html_entity_decode($this->message), '<i><a>') : $this->message;
    }

    public function getAction($display = false)
    {
        return $display === true ? strip_tags(html_entity_decode($this->action), '<i><a>') : $this->action;
    }

    public function getOccurrences()
    {
        return $this->occurrences;
    }
}
