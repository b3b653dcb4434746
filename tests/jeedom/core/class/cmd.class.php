<?php

class cmd
{
    protected $id;
    protected $logicalId;
    protected $generic_type;
    protected $eqType;
    protected $name;
    protected $order;
    protected $type;
    protected $subType;
    protected $eqLogic_id;
    protected $isHistorized = 0;
    protected $unite = '';
    protected $configuration;
    protected $template;
    protected $display;
    protected $value = null;
    protected $isVisible = 1;
    protected $alert;
    protected $_collectDate = '';
    protected $_valueDate = '';
    protected $_eqLogic = null;
    protected $_changed = false;
    protected $_needRefreshWidget = false;

    // ---- Reading

    /** @return cmd|void */
    public static function byId($_id)
    {
        if ($_id == '') {
            return;
        }
        $cmd = DB::Prepare(self::sql() . 'id = :id', ['id' => $_id], DB::FETCH_TYPE_ROW, PDO::FETCH_CLASS, __CLASS__);
        return is_object($cmd) ? self::cast([$cmd])[0] : $cmd;
    }

    /** @return cmd[] */
    public static function byEqLogicId($_eqLogic_id, $_type = null, $_visible = null, $_eqLogic = null, $_has_generic_type = null)
    {
        $sql = self::sql() . 'eqLogic_id = :eqLogic_id' . ($_type === null ? '' : ' AND `type` = :type') . ($_visible === null ? '' : ' AND `isVisible` = 1')
            . ' ORDER BY `order`,`name`';
        return self::all($sql, ['eqLogic_id' => $_eqLogic_id, 'type' => $_type], $_eqLogic);
    }

    /** @return cmd|cmd[]|false */
    public static function byEqLogicIdAndLogicalId($_eqLogic_id, $_logicalId, $_multiple = false, $_type = null, $_eqLogic = null)
    {
        $sql = self::sql() . 'eqLogic_id = :eqLogic_id AND logicalId = :logicalId' . ($_type === null ? '' : ' AND type = :type') . ' ORDER BY `order`';
        $cmds = self::all($sql, ['eqLogic_id' => $_eqLogic_id, 'logicalId' => $_logicalId, 'type' => $_type], $_eqLogic);
        return $_multiple ? $cmds : $cmds[0] ?? false;
    }

    private static function sql(): string
    {
        return 'SELECT ' . DB::buildField(__CLASS__) . ' FROM cmd WHERE ';
    }

    private static function all(string $sql, array $values, $eqLogic): array
    {
        if (is_object($eqLogic) && class_exists($eqLogic->getEqType_name() . 'Cmd')) {
            return DB::Prepare($sql, $values, DB::FETCH_TYPE_ALL, PDO::FETCH_CLASS, $eqLogic->getEqType_name() . 'Cmd');
        }
        return self::cast(DB::Prepare($sql, $values, DB::FETCH_TYPE_ALL, PDO::FETCH_CLASS, __CLASS__));
    }

    private static function cast(array $_inputs): array
    {
        return array_map(static function (cmd $cmd): cmd {
            if (!class_exists($cmd->getEqType() . 'Cmd')) {
                return $cmd;
            }
            $object = cast($cmd, $cmd->getEqType() . 'Cmd');
            if (method_exists($object, 'decrypt')) {
                $object->decrypt();
            }
            return $object;
        }, $_inputs);
    }

    // ---- Saving and removing

    public function getTableName()
    {
        return 'cmd';
    }

    public function save($_direct = false)
    {
        $needed = ['name' => $this->getName(), 'type' => $this->getType(), 'subType' => $this->getSubType(), 'eqLogic' => $this->getEqLogic_id()];
        foreach ($needed as $what => $is) {
            if ($is == '') {
                throw new Exception($this->getHumanName() . ' : ' . $what . ' de la commande ne peut pas être vide');
            }
        }
        if ($this->getEqType() == '') {
            $this->setEqType($this->getEqLogic()->getEqType_name());
        }
        if ($this->getTemplate('dashboard', '') == '') {
            $this->setTemplate('dashboard', 'core::default');
        }
        if ($this->getTemplate('mobile', '') == '') {
            $this->setTemplate('mobile', 'core::default');
        }
        if ($this->getType() == 'action' && $this->getIsHistorized() == 1) {
            $this->setIsHistorized(0);
        }
        DB::save($this, $_direct);
        if ($this->_needRefreshWidget) {
            $this->_needRefreshWidget = false;
            $eqLogic = $this->getEqLogic();
            if (is_object($eqLogic)) {
                $eqLogic->refreshWidget();
            }
        }
        return true;
    }

    public function remove()
    {
        $eqLogic = $this->getEqLogic();
        if (is_object($eqLogic)) {
            $eqLogic->setStatus(['warning' => 0, 'danger' => 0]);
        }
        cache::delete('cmdCacheAttr' . $this->getId());
        return DB::remove($this);
    }

    public function dontRemoveCmd()
    {
        return false;
    }

    // ---- Doing

    public function execute($_options = [])
    {
        return false;
    }

    public function execCmd($_options = null, $_sendNodeJsEvent = false, $_quote = false)
    {
        if ($this->getType() == 'info') {
            $state = $this->getCache(['collectDate', 'valueDate', 'value']);
            $this->_collectDate = $state['collectDate'];
            $this->_valueDate = $state['valueDate'];
            return $state['value'];
        }
        $eqLogic = $this->getEqLogic();
        if (!is_object($eqLogic) || $eqLogic->getIsEnable() != 1) {
            throw new Exception('Equipement désactivé - impossible d\'exécuter la commande : ' . $this->getHumanName());
        }
        try {
            return $this->formatValue($this->execute($_options));
        } catch (Exception $e) {
            $what = __('Erreur exécution de la commande', __FILE__) . ' ' . $this->getHumanName();
            log::add($eqLogic->getEqType_name(), 'error', $what . ' : ' . $e->getMessage());
            throw $e;
        }
    }

    public function event($_value, $_datetime = null, $_loop = 1)
    {
        $eqLogic = $this->getEqLogic();
        if ($this->getType() != 'info' || !is_object($eqLogic) || $eqLogic->getIsEnable() == 0) {
            return;
        }
        $value = $this->formatValue($_value);
        $old = $this->execCmd();
        $repeat = $old === $value && $old !== '' && $old !== null;
        $this->_collectDate = $_datetime ?: date('Y-m-d H:i:s');
        $this->_valueDate = $repeat ? $this->_valueDate : $this->_collectDate;
        $this->setCache('collectDate', $this->_collectDate);
        $eqLogic->setStatus(['lastCommunication' => $this->_collectDate, 'timeout' => 0]);
        if (!$repeat) {
            $this->setCache(['value' => $value, 'valueDate' => $this->_valueDate]);
        }
        $shown = substr((string) $value, 0, 3096);
        event::adds('cmd::update', [[
            'cmd_id' => $this->getId(), 'value' => $shown, 'display_value' => $shown, 'unit' => $this->getUnite(), 'raw_unit' => $this->getUnite(),
            'valueDate' => $this->_valueDate, 'collectDate' => $this->_collectDate,
        ]]);
    }

    public function formatValue($_value, $_quote = false)
    {
        if (is_array($_value) || is_object($_value)) {
            return '';
        }
        if ($_value === null) {
            $_value = 0;
        }
        if (trim((string) $_value) === '' && $_value !== false) {
            return in_array($this->getSubType(), ['numeric', 'binary'], true) ? 0 : '';
        }
        $_value = trim(trim((string) $_value), '"');
        if ($this->getType() !== 'info' || strpos(strtolower($_value), 'error::') !== false) {
            return $_value;
        }
        switch ($this->getSubType()) {
            case 'binary':
                return (int) ((int) $_value >= 1 || in_array(strtolower($_value), ['on', 'true', 'high', 'enable', 'enabled', 'online'], true));
            case 'numeric':
                return (float) str_replace(',', '.', $_value);
        }
        return $_value;
    }

    // ---- What it is

    public function getHumanName($_tag = false, $_prettify = false)
    {
        $eqLogic = $this->getEqLogic();
        return (is_object($eqLogic) ? $eqLogic->getHumanName() : '') . '[' . $this->getName() . ']';
    }

    public function getEqLogic()
    {
        if ($this->_eqLogic === null) {
            $this->setEqLogic(eqLogic::byId($this->eqLogic_id));
        }
        return $this->_eqLogic;
    }

    public function setEqLogic($_eqLogic)
    {
        $this->_eqLogic = $_eqLogic;
        return $this;
    }

    public function getId()
    {
        return $this->id;
    }

    public function setId($_id = '')
    {
        return $this->changed('id', $_id);
    }

    public function getLogicalId()
    {
        return $this->logicalId;
    }

    public function setLogicalId($_logicalId)
    {
        return $this->changed('logicalId', $_logicalId);
    }

    public function getGeneric_type()
    {
        return $this->generic_type;
    }

    public function setGeneric_type($_generic_type)
    {
        return $this->changed('generic_type', $_generic_type);
    }

    public function getEqType()
    {
        return $this->eqType;
    }

    public function setEqType($_eqType)
    {
        return $this->changed('eqType', $_eqType);
    }

    public function getName()
    {
        return $this->name;
    }

    public function setName($_name)
    {
        return $this->shown('name', trim(substr(cleanComponanteName($_name), 0, 127)));
    }

    public function getOrder()
    {
        return $this->order == '' ? 0 : $this->order;
    }

    public function setOrder($order)
    {
        return $this->shown('order', $order);
    }

    public function getType()
    {
        return $this->type;
    }

    public function setType($_type)
    {
        return $this->shown('type', $_type);
    }

    public function getSubType()
    {
        return $this->subType;
    }

    public function setSubType($_subType)
    {
        return $this->shown('subType', $_subType);
    }

    public function getEqLogic_id()
    {
        return $this->eqLogic_id;
    }

    public function setEqLogic_id($_eqLogic_id)
    {
        return $this->changed('eqLogic_id', $_eqLogic_id);
    }

    public function getIsHistorized()
    {
        return $this->isHistorized;
    }

    public function setIsHistorized($_isHistorized)
    {
        return $this->changed('isHistorized', $_isHistorized);
    }

    public function getUnite()
    {
        return $this->unite;
    }

    public function setUnite($_unite)
    {
        return $this->shown('unite', $_unite);
    }

    public function getIsVisible()
    {
        return $this->isVisible;
    }

    public function setIsVisible($isVisible)
    {
        return $this->shown('isVisible', $isVisible);
    }

    public function getValue()
    {
        return $this->value;
    }

    public function setValue($_value)
    {
        return $this->changed('value', $_value);
    }

    public function getConfiguration($_key = '', $_default = '')
    {
        return utils::getJsonAttr($this->configuration, $_key, $_default);
    }

    public function setConfiguration($_key, $_value)
    {
        return $this->changed('configuration', utils::setJsonAttr($this->configuration, $_key, $_value));
    }

    public function getTemplate($_key = '', $_default = '')
    {
        return utils::getJsonAttr($this->template, $_key, $_default);
    }

    public function setTemplate($_key, $_value)
    {
        return $this->shown('template', utils::setJsonAttr($this->template, $_key, $_value));
    }

    public function getDisplay($_key = '', $_default = '')
    {
        return utils::getJsonAttr($this->display, $_key, $_default);
    }

    public function setDisplay($_key, $_value)
    {
        return $this->shown('display', utils::setJsonAttr($this->display, $_key, $_value));
    }

    public function getCache($_key = '', $_default = '')
    {
        $cache = cache::byKey('cmdCacheAttr' . $this->getId())->getValue();
        return utils::getJsonAttr($cache, $_key, $_default);
    }

    public function setCache($_key, $_value = null)
    {
        $key = 'cmdCacheAttr' . $this->getId();
        cache::set($key, utils::setJsonAttr(cache::byKey($key)->getValue(), $_key, $_value));
        return $this;
    }

    public function getCollectDate()
    {
        if ($this->_collectDate === '' && $this->getType() == 'info') {
            $this->execCmd();
        }
        return $this->_collectDate;
    }

    public function getChanged()
    {
        return $this->_changed;
    }

    public function setChanged($_changed)
    {
        $this->_changed = $_changed;
        return $this;
    }

    private function changed(string $field, $value)
    {
        $this->_changed = utils::attrChanged($this->_changed, $this->$field, $value);
        $this->$field = $value;
        return $this;
    }

    private function shown(string $field, $value)
    {
        $this->_needRefreshWidget = $this->_needRefreshWidget || $this->$field != $value;
        return $this->changed($field, $value);
    }
}
